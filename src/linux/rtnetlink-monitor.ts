/**
 * Changes of links and addresses as they happen (rtnetlink(7) multicast groups).
 *
 * Put `fd` into an epoll set and call `read` when it is readable. Events say what the object is now,
 * so a reader that has missed some needs only one full listing to be right again: that is what
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
import { type NetlinkMessage, NLMSG_OVERRUN, parseMessages } from "./netlink.ts"
import { NETLINK_ROUTE, openNetlink, valid } from "./netlink-socket.ts"
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
  /** Events were lost: list everything again. */
  | { readonly type: "overrun" }

const GROUPS = {
  link: 0x1,
  "ipv4-address": 0x10,
  "ipv6-address": 0x100,
} as const

export type RtnetlinkGroup = keyof typeof GROUPS

/** Some hundred link events; the default holds a fifth of it. Then the kernel reports an overrun. */
const RECEIVE_BUFFER_BYTES = 1024 * 1024
const DATAGRAM_BYTES_MAX = 32 * 1024
/** Per `read`, so that a storm of events cannot starve the rest of an event loop. */
const DATAGRAMS_PER_READ_MAX = 64

export class RtnetlinkMonitor {
  readonly #socket: Fd
  readonly #buffer = new NativeBytes(DATAGRAM_BYTES_MAX)
  readonly #sender = new NativeBytes(SOCKADDR_NL.size)
  readonly #senderLength = new NativeBytes(4)

  /** Equivalent to `ip monitor link address`. Throws `SystemError`. */
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
      if (received === "none") break
      if (received === "overrun") events.push({ type: "overrun" })
      else for (const message of received) events.push(...eventsOf(message))
    }
    return events
  }

  close(): void {
    this.#socket.close()
  }

  #receive(): NetlinkMessage[] | "none" | "overrun" {
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
    if (length > DATAGRAM_BYTES_MAX) return "overrun"
    const isFromKernel = this.#sender.view.getUint32(SOCKADDR_NL.portId, LITTLE_ENDIAN) === 0
    if (!isFromKernel) return []
    return valid(parseMessages(this.#buffer.bytes.subarray(0, length)), OPERATION)
  }
}

const OPERATION = "follow interface changes"

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

function failureOf(errno: number): NetlinkMessage[] | "none" | "overrun" {
  if (errno === EAGAIN) return "none"
  if (errno === EINTR) return []
  if (errno === ENOBUFS) return "overrun"
  throw new SystemError(OPERATION, errno)
}

function eventsOf({ type, body }: NetlinkMessage): RtnetlinkEvent[] {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      const link = valid(parseLink(body), OPERATION)
      const change = type === RTM_NEWLINK ? "set" : "removed"
      return link === undefined ? [] : [{ type: "link", change, link }]
    }
    case RTM_NEWADDR:
    case RTM_DELADDR: {
      const address = valid(parseInterfaceAddress(body), OPERATION)
      const change = type === RTM_NEWADDR ? "set" : "removed"
      return address === undefined ? [] : [{ type: "address", change, address }]
    }
    case NLMSG_OVERRUN:
      return [{ type: "overrun" }]
    default:
      return []
  }
}
