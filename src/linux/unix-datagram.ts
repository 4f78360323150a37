/**
 * What the program tells its service manager (sd_notify(3)): a datagram of `NAME=value` lines to
 * the socket in $NOTIFY_SOCKET.
 */
import { NativeBytes } from "./bytes.ts"
import { EAFNOSUPPORT, SystemError } from "./errno.ts"
import { LITTLE_ENDIAN, SOCKADDR_UN } from "./layouts.ts"
import { lastErrno, libc } from "./libc.ts"
import { AF_UNIX } from "./sockaddr.ts"
import { MSG_NOSIGNAL, openSocket, SOCK_DGRAM, SOCK_NONBLOCK } from "./socket-option.ts"

/** What a service manager passes on (systemd.exec(5)). */
export interface ServiceEnvironment {
  readonly [other: string]: string | undefined
  readonly NOTIFY_SOCKET?: string | undefined
  readonly WATCHDOG_PID?: string | undefined
  readonly WATCHDOG_USEC?: string | undefined
}

/**
 * Sends `text`, such as "READY=1" or "WATCHDOG=1". Never waits. "no-manager" when not started by a
 * service manager that wants to know. Throws `SystemError`.
 */
export function sdNotify(
  text: string,
  environment: ServiceEnvironment = process.env,
): "sent" | "no-manager" {
  const path = environment.NOTIFY_SOCKET
  if (path === undefined || path === "") return "no-manager"
  const operation = `notify the service manager at ${path}`
  const address = sockaddrUn(path, operation)
  const kind = { family: AF_UNIX, type: SOCK_DGRAM | SOCK_NONBLOCK, protocol: 0 }
  using socket = openSocket(kind, operation, () => {})
  const message = NativeBytes.of(Buffer.from(text, "utf8"))
  const length = message.bytes.length
  const { number } = socket
  const sent = libc.sendto(
    number,
    message.address,
    length,
    MSG_NOSIGNAL,
    address.address,
    address.bytes.length,
  )
  if (sent < 0) throw new SystemError(operation, lastErrno())
  return "sent"
}

/**
 * How often to send "WATCHDOG=1": half of what the manager waits (sd_watchdog_enabled(3) advises
 * so). Undefined when no watchdog watches this process.
 */
export function watchdogIntervalMs(
  environment: ServiceEnvironment = process.env,
  pid: number = process.pid,
): number | undefined {
  const watchedPid = environment.WATCHDOG_PID
  if (watchedPid !== undefined && watchedPid !== "" && watchedPid !== String(pid)) return undefined
  const timeoutUs = environment.WATCHDOG_USEC
  if (timeoutUs === undefined || !/^[1-9]\d*$/.test(timeoutUs)) return undefined
  return Number(timeoutUs) / 1000 / 2
}

/** `struct sockaddr_un`; a leading "@" is the abstract namespace (unix(7)). */
function sockaddrUn(path: string, operation: string): NativeBytes {
  if (!path.startsWith("/") && !path.startsWith("@")) {
    throw new SystemError(operation, EAFNOSUPPORT, "expected an absolute path or @name")
  }
  const bytes = Buffer.from(path, "utf8")
  if (bytes.length >= SOCKADDR_UN.size - SOCKADDR_UN.path) {
    throw new SystemError(operation, EAFNOSUPPORT, "the path is too long")
  }
  if (path.startsWith("@")) bytes[0] = 0
  // The length counts: an abstract name is not terminated by NUL.
  const address = new NativeBytes(SOCKADDR_UN.path + bytes.length)
  address.view.setUint16(SOCKADDR_UN.family, AF_UNIX, LITTLE_ENDIAN)
  address.bytes.set(bytes, SOCKADDR_UN.path)
  return address
}
