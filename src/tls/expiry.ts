/**
 * How long a certificate still lasts, as a metric and as a warning. Renewal by ACME happens 30 days
 * before the end, so one that comes to 21 was not renewed.
 */
export const EXPIRY_WARNING_DAYS = 21

const DAY_MS = 86_400_000

export interface Validity {
  /** Unix time, milliseconds. */
  readonly notBefore: number
  readonly notAfter: number
}

/** Days left, with a fraction; negative after the end. `now` is Unix time in milliseconds. */
export function expiryDays({ notAfter }: Validity, now: number): number {
  return (notAfter - now) / DAY_MS
}

/** "expires in 12 days", "expired 3 days ago", "is not valid before 2026-12-01"; "" when fine. */
export function expiryWarning(validity: Validity, now: number): string {
  if (now < validity.notBefore) {
    return `is not valid before ${new Date(validity.notBefore).toISOString().slice(0, 10)}`
  }
  const days = expiryDays(validity, now)
  if (days < 0) return `expired ${count(Math.ceil(-days))} ago`
  if (days < EXPIRY_WARNING_DAYS) return `expires in ${count(Math.floor(days))}`
  return ""
}

function count(days: number): string {
  return days === 1 ? "1 day" : `${days} days`
}
