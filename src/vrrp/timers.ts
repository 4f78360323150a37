/**
 * The two derived times of VRRP. Version 3 scales both with the Active Router's interval (RFC 9568
 * §6.1); version 2 has a Skew_Time of a fraction of one second whatever the interval (RFC 3768
 * §6.1). Milliseconds with fractions, so that 10 ms adverts keep their skew.
 */
export interface TimerParameters {
  readonly version: 2 | 3
  /** The effective priority, 1–255. */
  readonly priority: number
  /** Version 3: Active_Adver_Interval. Version 2: Advertisement_Interval. */
  readonly intervalMs: number
}

/** Skew_Time: the lower the priority, the later a Backup Router acts. */
export function skewTimeMs(parameters: TimerParameters): number {
  const unitMs = parameters.version === 3 ? parameters.intervalMs : 1000
  return ((256 - parameters.priority) * unitMs) / 256
}

/** Active_Down_Interval (version 2: Master_Down_Interval): how long a Backup Router waits. */
export function activeDownIntervalMs(parameters: TimerParameters): number {
  return 3 * parameters.intervalMs + skewTimeMs(parameters)
}
