/**
 * Changes of links, addresses and routes as they happen (rtnetlink(7) multicast groups).
 *
 * Put `fd` into an epoll set and call `read` when it is readable. Events say what the object is
 * now, so a reader that has missed some needs only one full listing to be right again: that is what
 * `overrun` asks for (the kernel drops events for a socket whose buffer is full).
 */
import {
  IFA_PROTO,
  type InterfaceAddress,
  parseInterfaceAddress,
  RTM_DELADDR,
  RTM_NEWADDR,
} from "./address-message.ts"
import { NativeBytes } from "./bytes.ts"
import { EAGAIN, EINTR, ENOBUFS, EPERM, SystemError } from "./errno.ts"
import type { Fd } from "./fd.ts"
import { IFADDRMSG, LITTLE_ENDIAN, NLATTR, NLMSGHDR, SOCKADDR_NL } from "./layouts.ts"
import { lastErrno, libc } from "./libc.ts"
import { type Link, parseLink, RTM_DELLINK, RTM_NEWLINK } from "./link-message.ts"
import {
  type NetlinkMalformation,
  type NetlinkMessage,
  NLMSG_OVERRUN,
  parseMessages,
} from "./netlink.ts"
import { NETLINK_ROUTE, openNetlink } from "./netlink-socket.ts"
import { attachFilter, type FilterInstruction } from "./packet-socket.ts"
import { parseRoute, type Route, RTM_DELROUTE, RTM_NEWROUTE } from "./route-message.ts"
import {
  MSG_TRUNC,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_SOCKET,
  setSocketOption,
} from "./socket-option.ts"

export type RtnetlinkEvent =
  | { readonly type: "link"; readonly change: "set" | "removed"; readonly link: Link }
  | {
      readonly type: "address"
      readonly change: "set" | "removed"
      readonly address: InterfaceAddress
    }
  /**
   * IPv4 routes that go because their link is taken down are not told of; the link's event is all
   * there is.
   */
  | { readonly type: "route"; readonly change: "set" | "removed"; readonly route: Route }
  /** Events were lost: list everything again. */
  | { readonly type: "overrun" }
  /** A message that could not be read, which must not end the thread that follows the others. */
  | { readonly type: "malformed"; readonly reason: NetlinkMalformation }

const GROUPS = {
  link: 0x1,
  "ipv4-address": 0x10,
  "ipv4-route": 0x40,
  "ipv6-address": 0x100,
  "ipv6-route": 0x400,
} as const

export type RtnetlinkGroup = keyof typeof GROUPS

/**
 * Some hundred link events; the default holds a fifth of it. Then the kernel reports an overrun.
 */
const RECEIVE_BUFFER_BYTES = 1024 * 1024
const DATAGRAM_BYTES_MAX = 32 * 1024
/** Per `read`, so that a storm of events cannot starve the rest of an event loop. */
const DATAGRAMS_PER_READ_MAX = 64

export class RtnetlinkMonitor {
  readonly #socket: Fd
  readonly #buffer = new NativeBytes(DATAGRAM_BYTES_MAX)
  readonly #sender = new NativeBytes(SOCKADDR_NL.size)
  readonly #senderLength = new NativeBytes(4)

  /**
   * Equivalent to `ip monitor link address route`, as many of them as asked for. What is said when
   * addresses with `ignoredMark` (IFA_PROTO) are set is left out: whoever keeps thousands alive
   * knows it already. Throws `SystemError`.
   */
  constructor(groups: readonly RtnetlinkGroup[], ignoredMark?: number) {
    const mask = groups.reduce((sum, group) => sum | GROUPS[group], 0)
    const type = SOCK_RAW | SOCK_NONBLOCK
    this.#socket = openNetlink({ protocol: NETLINK_ROUTE, groups: mask, type }, (socket) => {
      enlargeReceiveBuffer(socket)
      if (ignoredMark !== undefined) attachFilter(socket, withoutMarked(ignoredMark))
    })
  }

  /** For an epoll set, level-triggered. */
  get fd(): number {
    return this.#socket.number
  }

  /** What has happened since the last call; empty when nothing has. Throws `SystemError`. */
  read(): RtnetlinkEvent[] {
    const events: RtnetlinkEvent[] = []
    for (let count = 0; count < DATAGRAMS_PER_READ_MAX; count++) {
      const received = this.#receive()
      if (received === undefined) break
      events.push(...received)
    }
    return events
  }

  close(): void {
    this.#socket.close()
  }

  /** The events of one datagram; undefined when there is none. */
  #receive(): RtnetlinkEvent[] | undefined {
    this.#senderLength.view.setInt32(0, SOCKADDR_NL.size, LITTLE_ENDIAN)
    const length = libc.recvfrom(
      this.#socket.number,
      this.#buffer.address,
      DATAGRAM_BYTES_MAX,
      MSG_TRUNC,
      this.#sender.address,
      this.#senderLength.address,
    )
    if (length < 0) return failureOf(lastErrno())
    if (length > DATAGRAM_BYTES_MAX) return [{ type: "overrun" }]
    const isFromKernel = this.#sender.view.getUint32(SOCKADDR_NL.portId, LITTLE_ENDIAN) === 0
    if (!isFromKernel) return []
    return eventsOfDatagram(this.#buffer.bytes.subarray(0, length))
  }
}

/**
 * Drops RTM_NEWADDR with the mark. The filter sees the bytes of the message; whole numbers in it
 * would be read in network order, so it looks at the low byte of the type alone (the kernel sends
 * no other message of these groups whose type has it).
 */
function withoutMarked(mark: number): FilterInstruction[] {
  const step = (code: number, k: number, jumpTrue = 0, jumpFalse = 0) => {
    return { code, k, jumpTrue, jumpFalse }
  }
  return [
    step(BPF_LOAD_BYTE, NLMSGHDR.type),
    step(BPF_JUMP_EQUAL, RTM_NEWADDR, 0, 7),
    step(BPF_LOAD_CONSTANT, NLMSGHDR.size + IFADDRMSG.size),
    step(BPF_LOAD_X_CONSTANT, IFA_PROTO),
    // From the attributes at A on: where the one of type X is, 0 if there is none.
    step(BPF_LOAD_WORD, BPF_EXTENSIONS + BPF_EXTENSION_NLATTR),
    step(BPF_JUMP_EQUAL, 0, 3, 0),
    step(BPF_TAKE_X, 0),
    step(BPF_LOAD_BYTE_AT_X, NLATTR.size),
    step(BPF_JUMP_EQUAL, mark, 1, 0),
    step(BPF_RETURN, DATAGRAM_BYTES_MAX),
    step(BPF_RETURN, 0),
  ]
}

/** linux/filter.h */
const BPF_LOAD_CONSTANT = 0x00
const BPF_LOAD_X_CONSTANT = 0x01
const BPF_RETURN = 0x06
const BPF_TAKE_X = 0x07
const BPF_JUMP_EQUAL = 0x15
const BPF_LOAD_WORD = 0x20
const BPF_LOAD_BYTE = 0x30
const BPF_LOAD_BYTE_AT_X = 0x50
/** SKF_AD_OFF */
const BPF_EXTENSIONS = 0x1_0000_0000 - 0x1000
const BPF_EXTENSION_NLATTR = 12

/** Beyond net.core.rmem_max only with CAP_NET_ADMIN; up to it otherwise. */
function enlargeReceiveBuffer(socket: Fd): void {
  const option = { level: SOL_SOCKET, value: RECEIVE_BUFFER_BYTES }
  const operation = "enlarge the buffer for interface events"
  try {
    setSocketOption(socket, { ...option, name: SO_RCVBUFFORCE }, operation)
  } catch (error) {
    if (!(error instanceof SystemError && error.errno === EPERM)) throw error
    setSocketOption(socket, { ...option, name: SO_RCVBUF }, operation)
  }
}

function failureOf(errno: number): RtnetlinkEvent[] | undefined {
  if (errno === EAGAIN) return undefined
  if (errno === EINTR) return []
  if (errno === ENOBUFS) return [{ type: "overrun" }]
  throw new SystemError("follow interface changes", errno)
}

/** Exported for its test: the kernel sends nothing malformed. */
export function eventsOfDatagram(datagram: Uint8Array): RtnetlinkEvent[] {
  const messages = parseMessages(datagram)
  if (!messages.ok) return [{ type: "malformed", reason: messages.reason }]
  return messages.value.map(eventOf).filter((event) => event !== undefined)
}

/** Undefined for what is about neither a link nor an address nor a route. */
function eventOf({ type, body }: NetlinkMessage): RtnetlinkEvent | undefined {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      const link = parseLink(body)
      const change = type === RTM_NEWLINK ? "set" : "removed"
      if (!link.ok) return { type: "malformed", reason: link.reason }
      return link.value === undefined ? undefined : { type: "link", change, link: link.value }
    }
    case RTM_NEWADDR:
    case RTM_DELADDR: {
      const address = parseInterfaceAddress(body)
      const change = type === RTM_NEWADDR ? "set" : "removed"
      if (!address.ok) return { type: "malformed", reason: address.reason }
      if (address.value === undefined) return undefined
      return { type: "address", change, address: address.value }
    }
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      const route = parseRoute(body)
      const change = type === RTM_NEWROUTE ? "set" : "removed"
      if (!route.ok) return { type: "malformed", reason: route.reason }
      return route.value === undefined ? undefined : { type: "route", change, route: route.value }
    }
    case NLMSG_OVERRUN:
      return { type: "overrun" }
    default:
      return undefined
  }
}
