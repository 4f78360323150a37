/** Numbers for people. */

/** The two largest units: 75 hours → "3d 3h". */
export function formatAge(ms: number): string {
  let seconds = Math.max(0, Math.round(ms / 1000))
  const parts: string[] = []
  for (const [unit, size] of AGE_UNITS) {
    const amount = Math.floor(seconds / size)
    seconds -= amount * size
    if (amount > 0 || parts.length > 0) parts.push(`${amount}${unit}`)
  }
  return parts.slice(0, 2).join(" ") || "0s"
}

/** 4804638 → "4,804,638" */
export function formatCount(value: number): string {
  return value.toLocaleString("en")
}

/** Binary units, three digits: 28991029248 → "27.0 GiB". */
export function formatBytes(value: number): string {
  let amount = value
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (amount < 1024)
      return `${unit === "B" || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${unit}`
    amount /= 1024
  }
  return `${amount.toFixed(1)} TiB`
}

const AGE_UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
  ["s", 1],
] as const
