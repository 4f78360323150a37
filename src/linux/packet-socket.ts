/**
 * Ethernet frames of one type on one interface (packet(7)), for ARP.
 *
 * The socket is opened without a protocol and bound last, when its filter is in place, so that no
 * frame of another interface or kind is ever in its queue. Frames that this host sends are not
 * delivered (PACKET_IGNORE_OUTGOING, Linux 4.20): an announcer must not take its own announcement
 * for another host's.
 */
import { NativeBytes } from "./bytes.ts"
import { EAGAIN, EINTR, EMSGSIZE, ENETDOWN, SystemError } from "./errno.ts"
import { check, type Fd } from "./fd.ts"
import { LITTLE_ENDIAN, SOCK_FILTER, SOCK_FPROG, SOCKADDR_LL } from "./layouts.ts"
import { lastErrno, libc } from "./libc.ts"
import type { LinkRef } from "./link-message.ts"
import {
  MSG_TRUNC,
  openSocket,
  type SendResult,
  SO_ATTACH_FILTER,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_SOCKET,
  setSocketOption,
} from "./socket-option.ts"

const AF_PACKET = 17
const SOL_PACKET = 263
const PACKET_IGNORE_OUTGOING = 23
/** An Ethernet frame of the usual MTU with one VLAN tag. */
const FRAME_BYTES_MAX = 1518

/** PACKET_HOST and its siblings, in the order of their numbers. */
const PACKET_TYPES = ["host", "broadcast", "multicast", "other-host", "outgoing"] as const
export type PacketType = (typeof PACKET_TYPES)[number] | "other"

/** One instruction of the classic packet filter (linux/filter.h). */
export interface FilterInstruction {
  readonly code: number
  readonly jumpTrue: number
  readonly jumpFalse: number
  readonly k: number
}

export interface PacketSocketOptions {
  /** Such as 0x0806 for ARP. */
  readonly etherType: number
  /** Longer frames are cut to this. 1518 unless given. */
  readonly frameBytesMax?: number
  /** Runs over the frame from its Ethernet header; 0 drops it. Everything passes unless given. */
  readonly filter?: readonly FilterInstruction[]
}

export interface ReceivedFrame {
  /** From the Ethernet header, without a VLAN tag. The receiver's own copy. */
  readonly bytes: Uint8Array
  /** The frame was longer. */
  readonly truncated: boolean
  /**
   * To whom it was addressed. "other-host" is seen when the interface is promiscuous, and when the
   * frame belongs to a VLAN that has no interface here.
   */
  readonly packetType: PacketType
}

export class PacketSocket {
  readonly #link: LinkRef
  readonly #socket: Fd
  readonly #frameBytesMax: number
  readonly #incoming: NativeBytes
  readonly #outgoing: NativeBytes
  readonly #sender = new NativeBytes(SOCKADDR_LL.size)
  readonly #senderLength = new NativeBytes(4)

  /** Throws `SystemError`; without CAP_NET_RAW it says so. */
  constructor(link: LinkRef, { etherType, frameBytesMax, filter }: PacketSocketOptions) {
    this.#link = link
    this.#frameBytesMax = frameBytesMax ?? FRAME_BYTES_MAX
    this.#incoming = new NativeBytes(this.#frameBytesMax)
    this.#outgoing = new NativeBytes(this.#frameBytesMax)
    const kind = { family: AF_PACKET, type: SOCK_RAW | SOCK_NONBLOCK, protocol: 0 } as const
    const operation = `open packet socket on ${link.name}`
    this.#socket = openSocket({ ...kind, capability: "CAP_NET_RAW" }, operation, (socket) => {
      const ignore = { level: SOL_PACKET, name: PACKET_IGNORE_OUTGOING, value: 1 }
      setSocketOption(socket, ignore, "leave out own frames")
      if (filter !== undefined) attachFilter(socket, filter)
      const address = sockaddrLl(link.index, etherType)
      check(libc.bind(socket.number, address.address, SOCKADDR_LL.size), operation)
    })
  }

  /** For an epoll set. */
  get fd(): number {
    return this.#socket.number
  }

  /** Sends a whole frame, Ethernet header included. */
  send(frame: Uint8Array): SendResult {
    const operation = `send a frame on ${this.#link.name}`
    if (frame.length > this.#frameBytesMax) {
      return { ok: false, error: new SystemError(operation, EMSGSIZE) }
    }
    this.#outgoing.bytes.set(frame)
    const result = libc.send(this.#socket.number, this.#outgoing.address, frame.length, 0)
    if (result >= 0) return { ok: true }
    return { ok: false, error: new SystemError(operation, lastErrno()) }
  }

  /**
   * The next frame, undefined when there is none. Also undefined once when the interface goes down
   * (the link monitor says so); the socket works again when it comes back, but not when it was
   * removed. Throws `SystemError`.
   */
  receive(): ReceivedFrame | undefined {
    this.#senderLength.view.setInt32(0, SOCKADDR_LL.size, LITTLE_ENDIAN)
    const length = libc.recvfrom(
      this.#socket.number,
      this.#incoming.address,
      this.#frameBytesMax,
      MSG_TRUNC,
      this.#sender.address,
      this.#senderLength.address,
    )
    if (length >= 0) {
      return {
        bytes: this.#incoming.bytes.slice(0, Math.min(length, this.#frameBytesMax)),
        truncated: length > this.#frameBytesMax,
        packetType: PACKET_TYPES[this.#sender.bytes[SOCKADDR_LL.packetType] ?? -1] ?? "other",
      }
    }
    const errno = lastErrno()
    if (errno === EAGAIN || errno === EINTR || errno === ENETDOWN) return undefined
    throw new SystemError(`receive frames on ${this.#link.name}`, errno)
  }

  close(): void {
    this.#socket.close()
  }
}

/** Drops what the program answers 0 for, before it is queued (SO_ATTACH_FILTER). */
export function attachFilter(socket: Fd, instructions: readonly FilterInstruction[]): void {
  const program = encodeFilter(instructions)
  // `struct sock_fprog` and the program it points to, in one piece that lives as long as the call.
  const block = new NativeBytes(SOCK_FPROG.size + program.length)
  block.view.setUint16(SOCK_FPROG.length, instructions.length, LITTLE_ENDIAN)
  block.view.setBigUint64(SOCK_FPROG.filter, BigInt(block.at(SOCK_FPROG.size)), LITTLE_ENDIAN)
  block.bytes.set(program, SOCK_FPROG.size)
  const { number } = socket
  const result = libc.setsockopt(
    number,
    SOL_SOCKET,
    SO_ATTACH_FILTER,
    block.address,
    SOCK_FPROG.size,
  )
  check(result, "attach packet filter")
}

/** `struct sock_filter[]`. */
export function encodeFilter(instructions: readonly FilterInstruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * SOCK_FILTER.size)
  const view = new DataView(bytes.buffer)
  instructions.forEach(({ code, jumpTrue, jumpFalse, k }, index) => {
    const start = index * SOCK_FILTER.size
    view.setUint16(start + SOCK_FILTER.code, code, LITTLE_ENDIAN)
    view.setUint8(start + SOCK_FILTER.jumpTrue, jumpTrue)
    view.setUint8(start + SOCK_FILTER.jumpFalse, jumpFalse)
    view.setUint32(start + SOCK_FILTER.k, k, LITTLE_ENDIAN)
  })
  return bytes
}

function sockaddrLl(ifindex: number, etherType: number): NativeBytes {
  const address = new NativeBytes(SOCKADDR_LL.size)
  address.view.setUint16(SOCKADDR_LL.family, AF_PACKET, LITTLE_ENDIAN)
  address.view.setUint16(SOCKADDR_LL.protocol, etherType) // network order
  address.view.setInt32(SOCKADDR_LL.ifindex, ifindex, LITTLE_ENDIAN)
  return address
}
