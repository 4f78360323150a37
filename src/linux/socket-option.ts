/**
 * socket(2) and setsockopt(2) for the sockets that are opened rarely and configured at length:
 * netlink, packet, raw. Errors carry the caller's words for what it wanted.
 */
import { NativeBytes } from "./bytes.ts"
import { type Capability, checkPrivileged, ownPrivilegedFd } from "./capability.ts"
import type { SystemError } from "./errno.ts"
import { check, type Fd, ownFd } from "./fd.ts"
import { libc } from "./libc.ts"

export const SOCK_DGRAM = 2
export const SOCK_RAW = 3
export const SOCK_NONBLOCK = 0o4000
export const SOCK_CLOEXEC = 0o2000000

export const SOL_SOCKET = 1
export const SO_RCVBUF = 8
export const SO_PRIORITY = 12
export const SO_RCVTIMEO = 20
export const SO_ATTACH_FILTER = 26
export const SO_RCVBUFFORCE = 33
export const SO_BINDTOIFINDEX = 62

export const MSG_TRUNC = 0x20
export const MSG_NOSIGNAL = 0x4000

/** A send that fails is an ordinary event (the interface is down); the caller counts or logs it. */
export type SendResult = { readonly ok: true } | { readonly ok: false; readonly error: SystemError }

export interface SocketKind {
  readonly family: number
  /** SOCK_RAW or the like, with SOCK_NONBLOCK where wanted. SOCK_CLOEXEC is added. */
  readonly type: number
  readonly protocol: number
  readonly capability?: Capability
}

/** Opens a socket and configures it; closes it again when that throws. Throws `SystemError`. */
export function openSocket(
  { family, type, protocol, capability }: SocketKind,
  operation: string,
  configure: (socket: Fd) => void,
): Fd {
  const result = libc.socket(family, type | SOCK_CLOEXEC, protocol)
  const socket =
    capability === undefined
      ? ownFd(result, operation)
      : ownPrivilegedFd(result, operation, capability)
  try {
    configure(socket)
    return socket
  } catch (error) {
    socket.close()
    throw error
  }
}

export interface SocketOption {
  readonly level: number
  readonly name: number
  readonly value: number | Uint8Array
}

export function setSocketOption(
  socket: Fd,
  { level, name, value }: SocketOption,
  operation: string,
  capability?: Capability,
): void {
  const bytes = NativeBytes.of(typeof value === "number" ? int32(value) : value)
  const result = libc.setsockopt(socket.number, level, name, bytes.address, bytes.bytes.length)
  if (capability === undefined) check(result, operation)
  else checkPrivileged(result, operation, capability)
}

function int32(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer)
}
