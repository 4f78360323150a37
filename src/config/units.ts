/** Text with a unit, as people write it in configuration, and back. */

/** Milliseconds: "500ms", "1s", "10m", "2h", "1d"; whole numbers with one unit. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text)
  if (match === null) return undefined
  return Number(match[1]) * DURATION_UNITS_MS[match[2] as keyof typeof DURATION_UNITS_MS]
}

/** The shortest text that says it: 250 → "250ms", 3609.375 → "3.609s", 600000 → "10m". */
export function formatDuration(ms: number): string {
  if (ms > 0 && ms < 1000) return `${round(ms)}ms`
  const unit = (["d", "h", "m"] as const).find(
    (name) => ms > 0 && ms % DURATION_UNITS_MS[name] === 0,
  )
  return unit === undefined ? `${round(ms / 1000)}s` : `${ms / DURATION_UNITS_MS[unit]}${unit}`
}

/** Bytes: "512B", "64KiB", "1MiB", "2GiB"; binary units only, for decimal ones mislead. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,12})(B|KiB|MiB|GiB)$/.exec(text)
  if (match === null) return undefined
  return Number(match[1]) * SIZE_UNITS_BYTES[match[2] as keyof typeof SIZE_UNITS_BYTES]
}

/** In the largest unit that keeps it whole: 65536 → "64KiB". */
export function formatSize(bytes: number): string {
  const unit = (["GiB", "MiB", "KiB"] as const).find(
    (name) => bytes > 0 && bytes % SIZE_UNITS_BYTES[name] === 0,
  )
  return unit === undefined ? `${bytes}B` : `${bytes / SIZE_UNITS_BYTES[unit]}${unit}`
}

function round(value: number): number {
  return Number(value.toFixed(3))
}

const DURATION_UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

const SIZE_UNITS_BYTES = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const
