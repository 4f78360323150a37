/**
 * Why a stream connection ended: the label of the counter and the last field of the access line.
 * HAProxy's termination flags say the same in two letters; these are for reading.
 */
export const END_REASONS = [
  /** Both sides finished. */
  "finished",
  "client_reset",
  "server_reset",
  "idle_timeout",
  /** Every server tried refused, timed out or was unreachable. */
  "connect_failed",
  /** No server of the pool may be used. */
  "no_server",
  /** The access list. */
  "denied",
  /** The proxy that must say for whom it speaks did not, or not so that it could be read. */
  "bad_proxy_header",
  /** No descriptor, port or memory left for the connection. */
  "exhausted",
  /** The virtual address it came through moves to another edge. */
  "address_released",
  /** Its server went down and the pool says `on_down = "close"`. */
  "server_down",
  /** The edge stops and the drain time is over. */
  "stopped",
  /** A fault of ours; the log has it. */
  "internal_error",
] as const

export type EndReason = (typeof END_REASONS)[number]
