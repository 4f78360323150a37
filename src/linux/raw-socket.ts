/**
 * Packets of one IPv4 protocol on one interface (raw(7)), for VRRP (protocol 112).
 *
 * Receives whole packets, IP header included, because VRRP's rules begin with the header's TTL.
 * The source address of what is sent is the caller's choice for each packet (IP_PKTINFO), never the
 * kernel's: for a link-local group the kernel may pick any address of the interface, a virtual one
 * among them.
 */
import { type Address, addressBytes } from "../net/address.ts"
import { NativeBytes } from "./bytes.ts"
import { EAGAIN, EINTR, EMSGSIZE, EPERM, SystemError } from "./errno.ts"
import type { Fd } from "./fd.ts"
import {
  CMSGHDR,
  IN_PKTINFO,
  IOVEC,
  IP_MREQN,
  LITTLE_ENDIAN,
  MSGHDR,
  SOCKADDR_IN,
} from "./layouts.ts"
import { lastErrno, libc } from "./libc.ts"
import type { LinkRef } from "./link-message.ts"
import { AF_INET, decodeSockaddr } from "./sockaddr.ts"
import {
  MSG_NOSIGNAL,
  MSG_TRUNC,
  openSocket,
  type SendResult,
  SO_BINDTOIFINDEX,
  SO_PRIORITY,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_SOCKET,
  setSocketOption,
} from "./socket-option.ts"

const IPPROTO_IP = 0
const IP_TOS = 1
const IP_TTL = 2
const IP_HDRINCL = 3
const IP_PKTINFO = 8
const IP_MULTICAST_IF = 32
const IP_MULTICAST_TTL = 33
const IP_MULTICAST_LOOP = 34
const IP_ADD_MEMBERSHIP = 35
const IP_MULTICAST_ALL = 49

/** One packet of the usual MTU; VRRP with 255 addresses and its IP header needs 1048 bytes. */
const PACKET_BYTES_MAX = 1500

export interface RawSocketOptions {
  /** IP protocol number. */
  readonly protocol: number
  /** Multicast groups to join on the interface. */
  readonly groups: readonly Address[]
  /** Of sent packets, unicast and multicast. */
  readonly ttl: number
  /** The IPv4 TOS byte: DSCP in its upper six bits. 0 unless given. */
  readonly tos?: number
  /** Queueing priority in this host, 0–6 (7 needs CAP_NET_ADMIN). */
  readonly priority?: number
  /** Whether other sockets of this host hear what is sent to a group. False unless given. */
  readonly multicastLoop?: boolean
  /** `send` is given whole packets with their IP header (IP_HDRINCL). False unless given. */
  readonly headerIncluded?: boolean
}

export interface ReceivedPacket {
  /** From the IP header on. The receiver's own copy. */
  readonly bytes: Uint8Array
  readonly source: Address
  /** The packet was longer than 1500 bytes. */
  readonly truncated: boolean
}

export class RawSocket {
  readonly #link: LinkRef
  readonly #socket: Fd
  readonly #incoming = new NativeBytes(PACKET_BYTES_MAX)
  readonly #sender = new NativeBytes(SOCKADDR_IN.size)
  readonly #senderLength = new NativeBytes(4)
  readonly #outgoing = new OutgoingMessage()

  /** Throws `SystemError`; without CAP_NET_RAW it says so. */
  constructor(link: LinkRef, options: RawSocketOptions) {
    this.#link = link
    const { protocol } = options
    const kind = { family: AF_INET, type: SOCK_RAW | SOCK_NONBLOCK, protocol } as const
    const operation = `open raw socket for IP protocol ${protocol} on ${link.name}`
    this.#socket = openSocket({ ...kind, capability: "CAP_NET_RAW" }, operation, (socket) => {
      for (const [level, name, value] of socketOptions(link, options)) {
        setSocketOption(socket, { level, name, value }, operation, "CAP_NET_RAW")
      }
      for (const group of options.groups) {
        const value = mreqn(link.index, group)
        const option = { level: IPPROTO_IP, name: IP_ADD_MEMBERSHIP, value }
        setSocketOption(socket, option, `join ${group} on ${link.name}`)
      }
    })
  }

  /** For an epoll set. */
  get fd(): number {
    return this.#socket.number
  }

  /** Sends `payload` (or, with `headerIncluded`, a whole packet). `source` must be held here. */
  send(payload: Uint8Array, { source, destination }: PacketRoute): SendResult {
    const operation = `send to ${destination} on ${this.#link.name}`
    if (payload.length > PACKET_BYTES_MAX) {
      return { ok: false, error: new SystemError(operation, EMSGSIZE) }
    }
    this.#outgoing.fill(payload, { source, destination })
    const message = this.#outgoing.address
    if (libc.sendmsg(this.#socket.number, message, MSG_NOSIGNAL) >= 0) return { ok: true }
    const errno = lastErrno()
    const hint = errno === EPERM ? "a firewall rule of this host refuses it" : ""
    return { ok: false, error: new SystemError(operation, errno, hint) }
  }

  /** The next packet, undefined when there is none. Throws `SystemError`. */
  receive(): ReceivedPacket | undefined {
    this.#senderLength.view.setInt32(0, SOCKADDR_IN.size, LITTLE_ENDIAN)
    const length = libc.recvfrom(
      this.#socket.number,
      this.#incoming.address,
      PACKET_BYTES_MAX,
      MSG_TRUNC,
      this.#sender.address,
      this.#senderLength.address,
    )
    if (length >= 0) {
      return {
        bytes: this.#incoming.bytes.slice(0, Math.min(length, PACKET_BYTES_MAX)),
        source: decodeSockaddr(this.#sender).address,
        truncated: length > PACKET_BYTES_MAX,
      }
    }
    const errno = lastErrno()
    if (errno === EAGAIN || errno === EINTR) return undefined
    throw new SystemError(`receive packets on ${this.#link.name}`, errno)
  }

  close(): void {
    this.#socket.close()
  }
}

export interface PacketRoute {
  /** Undefined: the kernel's choice. */
  readonly source: Address | undefined
  readonly destination: Address
}

type OptionRow = readonly [level: number, name: number, value: number | Uint8Array]

function socketOptions(link: LinkRef, options: RawSocketOptions): OptionRow[] {
  const { ttl, tos, priority, multicastLoop, headerIncluded } = options
  const rows: OptionRow[] = [
    [SOL_SOCKET, SO_BINDTOIFINDEX, link.index],
    [IPPROTO_IP, IP_TTL, ttl],
    [IPPROTO_IP, IP_MULTICAST_TTL, ttl],
    [IPPROTO_IP, IP_MULTICAST_IF, mreqn(link.index)],
    [IPPROTO_IP, IP_MULTICAST_LOOP, multicastLoop === true ? 1 : 0],
    // Only the groups joined here, not those of any program on the host.
    [IPPROTO_IP, IP_MULTICAST_ALL, 0],
    [IPPROTO_IP, IP_HDRINCL, headerIncluded === true ? 1 : 0],
    [IPPROTO_IP, IP_TOS, tos ?? 0],
  ]
  // After IP_TOS, which sets a priority of its own.
  if (priority !== undefined) rows.push([SOL_SOCKET, SO_PRIORITY, priority])
  return rows
}

/** `struct ip_mreqn`: a group, or none, on an interface. */
function mreqn(ifindex: number, group?: Address): Uint8Array {
  const bytes = new Uint8Array(IP_MREQN.size)
  if (group !== undefined) bytes.set(addressBytes(group), IP_MREQN.group)
  new DataView(bytes.buffer).setInt32(IP_MREQN.ifindex, ifindex, LITTLE_ENDIAN)
  return bytes
}

/** `struct msghdr` and what it points to, laid out once and filled for each packet. */
class OutgoingMessage {
  readonly #header = new NativeBytes(MSGHDR.size)
  readonly #iovec = new NativeBytes(IOVEC.size)
  readonly #payload = new NativeBytes(PACKET_BYTES_MAX)
  readonly #destination = new NativeBytes(SOCKADDR_IN.size)
  /** One control message, padded to eight bytes (CMSG_SPACE). */
  readonly #control = new NativeBytes(CMSGHDR.size + 16)

  constructor() {
    const { view } = this.#header
    setPointer(view, MSGHDR.name, this.#destination)
    view.setUint32(MSGHDR.nameLength, SOCKADDR_IN.size, LITTLE_ENDIAN)
    setPointer(view, MSGHDR.iov, this.#iovec)
    view.setBigUint64(MSGHDR.iovLength, 1n, LITTLE_ENDIAN)
    setPointer(view, MSGHDR.control, this.#control)
    setPointer(this.#iovec.view, IOVEC.base, this.#payload)
    const length = BigInt(CMSGHDR.size + IN_PKTINFO.size)
    this.#control.view.setBigUint64(CMSGHDR.length, length, LITTLE_ENDIAN)
    this.#control.view.setInt32(CMSGHDR.level, IPPROTO_IP, LITTLE_ENDIAN)
    this.#control.view.setInt32(CMSGHDR.type, IP_PKTINFO, LITTLE_ENDIAN)
    this.#destination.view.setUint16(SOCKADDR_IN.family, AF_INET, LITTLE_ENDIAN)
  }

  get address() {
    return this.#header.address
  }

  fill(payload: Uint8Array, { source, destination }: PacketRoute): void {
    this.#payload.bytes.set(payload)
    this.#iovec.view.setBigUint64(IOVEC.length, BigInt(payload.length), LITTLE_ENDIAN)
    this.#destination.bytes.set(addressBytes(destination), SOCKADDR_IN.address)
    const controlBytes = source === undefined ? 0 : this.#control.bytes.length
    this.#header.view.setBigUint64(MSGHDR.controlLength, BigInt(controlBytes), LITTLE_ENDIAN)
    if (source === undefined) return
    this.#control.bytes.set(addressBytes(source), CMSGHDR.size + IN_PKTINFO.specDst)
  }
}

function setPointer(view: DataView, offset: number, target: NativeBytes): void {
  view.setBigUint64(offset, BigInt(target.address), LITTLE_ENDIAN)
}
