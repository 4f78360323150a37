/**
 * Changes of links, addresses and routes as they happen (rtnetlink(7) multicast groups).
 *
 * Put `fd` into an epoll set and call `read` when it is readable. Events say what the object is
 * now, so a reader that has missed some needs only one full listing to be right again: that is what
 * `overrun` asks for (the kernel drops events for a socket whose buffer is full).
 */
import {
  type InterfaceAddress,
  parseInterfaceAddress,
  RTM_DELADDR,
  RTM_NEWADDR,
} from "./address-message.ts"
import { NativeBytes } from "./bytes.ts"
import { EAGAIN, EINTR, ENOBUFS, EPERM, SystemError } from "./errno.ts"
import type { Fd } from "./fd.ts"
import { LITTLE_ENDIAN, SOCKADDR_NL } from "./layouts.ts"
import { lastErrno, libc } from "./libc.ts"
import { type Link, parseLink, RTM_DELLINK, RTM_NEWLINK } from "./link-message.ts"
import {
  type NetlinkMalformation,
  type NetlinkMessage,
  NLMSG_OVERRUN,
  parseMessages,
} from "./netlink.ts"
import { NETLINK_ROUTE, openNetlink } from "./netlink-socket.ts"
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

  /** Equivalent to `ip monitor link address route`, as many of them as asked for. Throws `SystemError`. */
  constructor(groups: readonly RtnetlinkGroup[]) {
    const mask = groups.reduce((sum, group) => sum | GROUPS[group], 0)
    const type = SOCK_RAW | SOCK_NONBLOCK
    this.#socket = openNetlink({ protocol: NETLINK_ROUTE, groups: mask, type }, (socket) => {
      enlargeReceiveBuffer(socket)
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
