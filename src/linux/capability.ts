/**
 * Errors of operations that need a capability: EPERM alone leaves the operator guessing, so the
 * message names what the unit file must grant ("EPERM (needs CAP_NET_ADMIN)").
 */
import { EACCES, EPERM, SystemError } from "./errno.ts"
import { type Fd, ownFd } from "./fd.ts"
import { lastErrno } from "./libc.ts"

export type Capability = "CAP_NET_ADMIN" | "CAP_NET_RAW"

/** The error of an operation that needs `capability`; `hint` is whatever else the kernel said. */
export function capabilityError(
  operation: string,
  errno: number,
  capability: Capability,
  hint = "",
): SystemError {
  const denied = errno === EPERM || errno === EACCES
  const needs = denied ? `needs ${capability}` : ""
  return new SystemError(operation, errno, [hint, needs].filter((part) => part !== "").join("; "))
}

/** `ownFd` for a call that needs `capability`. */
export function ownPrivilegedFd(result: number, operation: string, capability: Capability): Fd {
  if (result < 0) throw capabilityError(operation, lastErrno(), capability)
  return ownFd(result, operation)
}

/** `check` for a call that needs `capability`. */
export function checkPrivileged(result: number, operation: string, capability: Capability): number {
  if (result < 0) throw capabilityError(operation, lastErrno(), capability)
  return result
}
