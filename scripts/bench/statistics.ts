/** The few statistics of a benchmark. Lists are never empty. */

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] as number
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2
}

/** Half the interquartile range, as a share of the median: one outlier does not count. */
export function spread(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = median(values)
  return middle === 0 ? 0 : (percentile(sorted, 0.75) - percentile(sorted, 0.25)) / 2 / middle
}

/** Nearest-rank percentile of values in ascending order; `share` is within 0–1. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  const rank = Math.max(1, Math.ceil(share * sorted.length))
  return sorted[rank - 1] as number
}
