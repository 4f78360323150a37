/**
 * A tun device that lives as long as this process holds it open.
 *
 * It is the place of virtual addresses that must not outlive the process: when its descriptor is
 * closed, by `close` or by the death of the process, the kernel removes the device and the
 * addresses on it. Nothing is ever read from it; the kernel answers ARP for an address of the host
 * whatever interface carries it.
 */
import { NativeBytes } from "./bytes.ts"
import { capabilityError } from "./capability.ts"
import { EACCES, EAFNOSUPPORT, EBUSY, ENODEV, ENOENT, EPERM, SystemError } from "./errno.ts"
import { Fd } from "./fd.ts"
import { IFREQ, LITTLE_ENDIAN } from "./layouts.ts"
import { lastErrno, libc } from "./libc.ts"
import type { LinkRef } from "./link-message.ts"
import type { Rtnetlink } from "./rtnetlink.ts"

const DEVICE = "/dev/net/tun"
const O_RDWR = 2
const O_NONBLOCK = 0o4000
/** Without it a child process would keep the device alive after our death. */
const O_CLOEXEC = 0o2000000
const TUNSETIFF = 0x400454ca
const IFF_TUN = 0x0001
const IFF_NO_PI = 0x1000
/** Fail instead of attaching to a persistent device of that name. */
const IFF_TUN_EXCL = 0x8000
const INTERFACE_NAME_BYTES_MAX = 15

export class TunDevice implements LinkRef {
  readonly name: string
  readonly index: number
  readonly #fd: Fd

  constructor(fd: Fd, link: LinkRef) {
    this.#fd = fd
    this.name = link.name
    this.index = link.index
  }

  /** Removes the device and its addresses. */
  close(): void {
    this.#fd.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/**
 * Creates a tun device and brings it up, without addresses of its own. `name` has at most 15 bytes;
 * "%d" in it becomes the first free number. Equivalent to `ip tuntap add NAME mode tun` and
 * `ip link set NAME up`, but not persistent. Throws `SystemError`.
 */
export function openTun(name: string, rtnetlink: Rtnetlink): TunDevice {
  const operation = `create tun device ${name}`
  const fd = openDevice(operation)
  try {
    const created = attach(fd, name, operation)
    const link = rtnetlink.link(created)
    if (link === undefined) throw new SystemError(operation, ENODEV)
    disableIpv6Addresses(rtnetlink, link)
    rtnetlink.changeLink(link, { up: true })
    return new TunDevice(fd, link)
  } catch (error) {
    fd.close()
    throw error
  }
}

function openDevice(operation: string): Fd {
  const path = NativeBytes.text(DEVICE)
  const number = libc.open(path.address, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0)
  if (number >= 0) return new Fd(number, operation)
  const errno = lastErrno()
  throw new SystemError(operation, errno, openHint(errno))
}

function openHint(errno: number): string {
  if (errno === ENOENT) return `${DEVICE} is missing; load the module tun, or let the unit see it`
  if (errno === ENODEV) return "the kernel has no tun driver; load the module tun"
  if (errno === EACCES || errno === EPERM) return `may not open ${DEVICE}`
  return ""
}

/** Returns the name the device got. */
function attach(fd: Fd, name: string, operation: string): string {
  const nameBytes = Buffer.from(name, "utf8")
  if (nameBytes.length > INTERFACE_NAME_BYTES_MAX) {
    throw new RangeError(`Cannot ${operation}: the name is longer than 15 bytes`)
  }
  const request = new NativeBytes(IFREQ.size)
  request.bytes.set(nameBytes, IFREQ.name)
  request.view.setInt16(IFREQ.flags, IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, LITTLE_ENDIAN)
  if (libc.ioctl(fd.number, TUNSETIFF, request.address) < 0) {
    const errno = lastErrno()
    const hint = errno === EBUSY ? "an interface of that name exists" : ""
    throw capabilityError(operation, errno, "CAP_NET_ADMIN", hint)
  }
  const name16 = request.bytes.subarray(IFREQ.name, IFREQ.flags)
  return Buffer.from(name16.subarray(0, name16.indexOf(0))).toString("utf8")
}

/** A link-local address would make the host talk router discovery into the device. */
function disableIpv6Addresses(rtnetlink: Rtnetlink, link: LinkRef): void {
  try {
    rtnetlink.changeLink(link, { ipv6AddressGeneration: "none" })
  } catch (error) {
    const hasIpv6 = !(error instanceof SystemError && error.errno === EAFNOSUPPORT)
    if (hasIpv6) throw error
  }
}
