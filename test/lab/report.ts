/**
 * The figures a test measures, for a person to read and to copy into a table. Shown even when all
 * passes, because "below the limit" says less than by how much.
 */

/** Prints "  · what: figures", such as `report("reload", { refused: 0, "median ms": 12.34 })`. */
export function report(
  what: string,
  figures: Readonly<Record<string, number | string | boolean>>,
): void {
  const shown = Object.entries(figures).map(([name, value]) => `${name} ${format(value)}`)
  process.stdout.write(`  · ${what}: ${shown.join(", ")}\n`)
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const [low = Number.NaN, high = Number.NaN] = [sorted[middle - 1], sorted[middle]]
  return sorted.length % 2 === 1 ? high : (low + high) / 2
}

function format(value: number | string | boolean): string {
  if (typeof value !== "number" || Number.isInteger(value)) return String(value)
  return value.toFixed(Math.abs(value) < 100 ? 2 : 0)
}
