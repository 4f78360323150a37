/**
 * How long an address outlives a thread that hangs. The kernel takes the address away when its
 * `valid_lft` runs out, counted in whole seconds and checked up to half a second late (measured: a
 * lease of 2 s ends after 2.0–2.5 s; 1 s is too near to that jitter).
 *
 * "auto" wants the address gone before a peer takes it over. A peer waits at least three intervals
 * after the last advert; the last refresh may be almost one interval younger than that advert; so
 * `lease + 0.5 s <= 2 intervals` is always early enough. Below 1.25 s intervals the floor of 2 s
 * rules, which still suits 1 s adverts with a peer whose Skew_Time is 0.5 s or more (priority 128
 * or less); with faster adverts both hosts answer for the rest of the lease.
 */
const LEASE_S_MIN = 2
const KERNEL_LATE_MS = 500
/**
 * Each is a message to the kernel, and one from it to everybody on the host who follows addresses;
 * measured: 10 µs with 2,000 addresses.
 */
const RENEWALS_PER_S_MAX = 1000
/** Three refreshes may fail or be late before the address goes. */
const REFRESHES_PER_LEASE = 4

export interface Lease {
  /** For `valid_lft`. */
  readonly seconds: number
  readonly refreshMs: number
}

/** Undefined: permanent. A fixed lease is rounded up to what the kernel can keep. */
export function leaseOf(config: {
  readonly leaseMs: number | "auto"
  readonly advertisementIntervalMs: number
}): Lease | undefined {
  if (config.leaseMs === 0) return undefined
  const seconds = Math.max(
    LEASE_S_MIN,
    config.leaseMs === "auto"
      ? Math.floor((2 * config.advertisementIntervalMs - KERNEL_LATE_MS) / 1000)
      : Math.ceil(config.leaseMs / 1000),
  )
  return { seconds, refreshMs: (seconds * 1000) / REFRESHES_PER_LEASE }
}

/** A lease that each of `count` addresses has: longer where renewing them would cost much. */
export function leaseFor(count: number, lease: Lease): Lease {
  const secondsMin = Math.ceil((count * REFRESHES_PER_LEASE) / RENEWALS_PER_S_MAX)
  const seconds = Math.max(lease.seconds, secondsMin)
  return { seconds, refreshMs: (seconds * 1000) / REFRESHES_PER_LEASE }
}
