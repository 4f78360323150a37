/**
 * A netlink socket for requests: send one, wait for its acknowledgement or the end of its dump.
 *
 * Synchronous on purpose. The kernel answers a route request before `sendto` returns, so there is
 * nothing to wait for in an event loop, and the vrrp thread must know that an address is there
 * before it announces it. Waiting is bounded all the same: `ANSWER_WAIT_MS` per datagram,
 * `DUMP_BYTES_MAX` per dump.
 */
import { NativeBytes } from "./bytes.ts"
import { capabilityError } from "./capability.ts"
import { EAGAIN, EINTR, ETIMEDOUT, SystemError } from "./errno.ts"
import { check, type Fd } from "./fd.ts"
import { LITTLE_ENDIAN, SOCKADDR_NL, TIMEVAL } from "./layouts.ts"
import { lastErrno, libc } from "./libc.ts"
import {
  type Acknowledgement,
  encodeDatagram,
  encodeMessage,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_NOOP,
  type Parsed,
  parseAcknowledgement,
  parseDone,
  parseMessages,
} from "./netlink.ts"
import {
  MSG_TRUNC,
  openSocket,
  SO_RCVTIMEO,
  SOCK_RAW,
  SOL_SOCKET,
  setSocketOption,
} from "./socket-option.ts"

export const AF_NETLINK = 16
export const NETLINK_ROUTE = 0

const SOL_NETLINK = 270
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const NETLINK_GET_STRICT_CHK = 12

const ANSWER_WAIT_MS = 1000
/** What the kernel's own dumps are cut to; a larger buffer would not be used. */
const DATAGRAM_BYTES_MAX = 32 * 1024
/** A full table of 100 000 routes is about 12 MB. */
const DUMP_BYTES_MAX = 64 * 1024 * 1024
/** A dump interrupted by changes is repeated; under a storm of them the last one has to do. */
const DUMP_ATTEMPTS_MAX = 4
/** Requests of one datagram: if all are refused, the answers still fit the socket's buffer. */
const BATCH_MAX = 100
/** Late answers of requests that timed out; more than this is a bug. */
const FOREIGN_DATAGRAMS_MAX = 1000

export interface NetlinkRequest {
  readonly type: number
  /** NLM_F_CREATE and its like; NLM_F_REQUEST, NLM_F_ACK and NLM_F_DUMP are added here. */
  readonly flags: number
  readonly body: Uint8Array
}

export class NetlinkSocket {
  readonly #fd: Fd
  readonly #buffer = new NativeBytes(DATAGRAM_BYTES_MAX)
  readonly #sender = new NativeBytes(SOCKADDR_NL.size)
  readonly #senderLength = new NativeBytes(4)
  #sequence = 0

  /** Throws `SystemError`. */
  constructor(protocol: number = NETLINK_ROUTE) {
    this.#fd = openNetlink({ protocol, groups: 0, type: SOCK_RAW }, (socket) => {
      setSocketOption(socket, receiveTimeout(ANSWER_WAIT_MS), "limit the wait for netlink answers")
      // Filters in dump requests are honoured (since Linux 4.20).
      const strict = { level: SOL_NETLINK, name: NETLINK_GET_STRICT_CHK, value: 1 }
      setSocketOption(socket, strict, "ask netlink to check dump requests")
    })
  }

  /**
   * Sends a request and waits for its acknowledgement. Returns the messages that came before it.
   * Throws `SystemError` "Cannot `operation`: …" with the kernel's explanation.
   */
  request(request: NetlinkRequest, operation: string): NetlinkMessage[] {
    const sequence = this.#send(request, NLM_F_REQUEST | NLM_F_ACK, operation)
    return this.#collect(sequence, operation).messages
  }

  /**
   * Sends many requests in few system calls; the kernel does each whatever becomes of the others.
   * Returns what it refused, by index; `describe` names a request in its error. Only the last
   * request of a batch asks for an acknowledgement: one each would overflow the socket's buffer.
   */
  requestAll(
    requests: readonly NetlinkRequest[],
    describe: (index: number) => string,
  ): Map<number, SystemError> {
    const refused = new Map<number, SystemError>()
    for (let start = 0; start < requests.length; start += BATCH_MAX) {
      const batch = requests.slice(start, start + BATCH_MAX)
      const first = this.#sendBatch(batch, describe(start))
      const answers = this.#collectBatch(first, batch.length, describe(start))
      for (const [offset, acknowledgement] of answers) {
        const index = start + offset
        refused.set(index, errorOf(acknowledgement, describe(index)))
      }
    }
    return refused
  }

  /** Asks for all objects of a kind. Throws `SystemError`. */
  dump(request: NetlinkRequest, operation: string): NetlinkMessage[] {
    for (let attempt = 1; ; attempt++) {
      const sequence = this.#send(request, NLM_F_REQUEST | NLM_F_DUMP, operation)
      const { messages, interrupted } = this.#collect(sequence, operation)
      if (!interrupted || attempt === DUMP_ATTEMPTS_MAX) return messages
    }
  }

  close(): void {
    this.#fd.close()
  }

  #send({ type, flags, body }: NetlinkRequest, common: number, operation: string): number {
    this.#sequence = (this.#sequence + 1) >>> 0 || 1
    const message = { type, flags: flags | common, sequence: this.#sequence, portId: 0, body }
    const bytes = NativeBytes.of(encodeMessage(message))
    // An unconnected netlink socket sends to port 0, the kernel.
    check(libc.send(this.#fd.number, bytes.address, bytes.bytes.length, 0), operation)
    return this.#sequence
  }

  /** Returns the sequence number of the first; the others follow it. */
  #sendBatch(requests: readonly NetlinkRequest[], operation: string): number {
    // A number of one batch must not come round to 0 within it.
    if (this.#sequence + requests.length >= 2 ** 32) this.#sequence = 0
    const first = this.#sequence + 1
    const messages = requests.map(({ type, flags, body }, index) => {
      const acknowledge = index === requests.length - 1 ? NLM_F_ACK : 0
      const all = flags | NLM_F_REQUEST | acknowledge
      return encodeMessage({ type, flags: all, sequence: first + index, portId: 0, body })
    })
    this.#sequence += requests.length
    const bytes = NativeBytes.of(encodeDatagram(messages))
    check(libc.send(this.#fd.number, bytes.address, bytes.bytes.length, 0), operation)
    return first
  }

  /** The failures of `count` requests, by index, read up to the acknowledgement of the last. */
  #collectBatch(first: number, count: number, operation: string): Map<number, Acknowledgement> {
    const failures = new Map<number, Acknowledgement>()
    for (let foreign = 0; foreign < FOREIGN_DATAGRAMS_MAX; ) {
      const messages = valid(parseMessages(this.#receive(operation)), operation)
      const mine = messages.filter(({ sequence }) => sequence >= first && sequence < first + count)
      if (mine.length === 0) foreign++
      for (const message of mine) {
        if (message.type !== NLMSG_ERROR) continue
        const acknowledgement = valid(parseAcknowledgement(message), operation)
        const index = message.sequence - first
        if (acknowledgement.errno !== 0) failures.set(index, acknowledgement)
        if (index === count - 1) return failures
      }
    }
    throw new Error(`Cannot ${operation}: netlink answered more than the limits allow`)
  }

  /** Reads until the acknowledgement, or the end of the dump, of `sequence`. */
  #collect(
    sequence: number,
    operation: string,
  ): { messages: NetlinkMessage[]; interrupted: boolean } {
    const messages: NetlinkMessage[] = []
    let interrupted = false
    let receivedBytes = 0
    for (let foreign = 0; foreign < FOREIGN_DATAGRAMS_MAX; ) {
      const datagram = this.#receive(operation)
      receivedBytes += datagram.length
      if (receivedBytes > DUMP_BYTES_MAX) break
      const mine = valid(parseMessages(datagram), operation).filter(
        (message) => message.sequence === sequence,
      )
      if (mine.length === 0) foreign++
      for (const message of mine) {
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true
        if (isEnd(message, operation)) return { messages, interrupted }
        messages.push(message)
      }
    }
    throw new Error(`Cannot ${operation}: netlink answered more than the limits allow`)
  }

  /** One datagram of the kernel, copied out of the buffer. */
  #receive(operation: string): Uint8Array {
    for (;;) {
      this.#senderLength.view.setInt32(0, SOCKADDR_NL.size, LITTLE_ENDIAN)
      const length = libc.recvfrom(
        this.#fd.number,
        this.#buffer.address,
        DATAGRAM_BYTES_MAX,
        MSG_TRUNC,
        this.#sender.address,
        this.#senderLength.address,
      )
      if (length > DATAGRAM_BYTES_MAX)
        throw new Error(`Cannot ${operation}: answer of ${length} bytes`)
      if (length >= 0) {
        if (this.#isFromKernel()) return this.#buffer.bytes.slice(0, length)
        continue
      }
      const errno = lastErrno()
      if (errno === EINTR) continue
      throw new SystemError(operation, errno === EAGAIN ? ETIMEDOUT : errno)
    }
  }

  /** Another process may send to our port; only the kernel is listened to. */
  #isFromKernel(): boolean {
    return this.#sender.view.getUint32(SOCKADDR_NL.portId, LITTLE_ENDIAN) === 0
  }
}

export interface NetlinkOpening {
  readonly protocol: number
  /** Multicast groups as a bit mask (RTMGRP_…). */
  readonly groups: number
  readonly type: number
}

/** Opens a netlink socket that explains its errors, on a port of the kernel's choice. */
export function openNetlink(
  { protocol, groups, type }: NetlinkOpening,
  configure: (socket: Fd) => void,
): Fd {
  return openSocket({ family: AF_NETLINK, type, protocol }, "open netlink socket", (socket) => {
    setSocketOption(socket, { level: SOL_NETLINK, name: NETLINK_EXT_ACK, value: 1 }, "get reasons")
    setSocketOption(socket, { level: SOL_NETLINK, name: NETLINK_CAP_ACK, value: 1 }, "cut echoes")
    configure(socket)
    const address = new NativeBytes(SOCKADDR_NL.size)
    address.view.setUint16(SOCKADDR_NL.family, AF_NETLINK, LITTLE_ENDIAN)
    address.view.setUint32(SOCKADDR_NL.groups, groups, LITTLE_ENDIAN)
    check(libc.bind(socket.number, address.address, SOCKADDR_NL.size), "bind netlink socket")
  })
}

/**
 * The value, or an Error that names what was wrong: the kernel does not send malformed messages.
 */
export function valid<Value>(parsed: Parsed<Value>, operation: string): Value {
  if (parsed.ok) return parsed.value
  throw new Error(`Cannot ${operation}: netlink sent a malformed answer (${parsed.reason})`)
}

function isEnd(message: NetlinkMessage, operation: string): boolean {
  if (message.type === NLMSG_NOOP) return false
  if (message.type === NLMSG_ERROR) {
    throwUnlessSuccess(valid(parseAcknowledgement(message), operation), operation)
    return true
  }
  if (message.type !== NLMSG_DONE) return false
  throwUnlessSuccess(valid(parseDone(message), operation), operation)
  return true
}

function throwUnlessSuccess(acknowledgement: Acknowledgement, operation: string): void {
  if (acknowledgement.errno !== 0) throw errorOf(acknowledgement, operation)
}

function errorOf({ errno, text }: Acknowledgement, operation: string): SystemError {
  return capabilityError(operation, errno, "CAP_NET_ADMIN", text)
}

function receiveTimeout(waitMs: number) {
  const value = new Uint8Array(TIMEVAL.size)
  const view = new DataView(value.buffer)
  view.setBigInt64(TIMEVAL.seconds, BigInt(Math.floor(waitMs / 1000)), LITTLE_ENDIAN)
  view.setBigInt64(TIMEVAL.microseconds, BigInt((waitMs % 1000) * 1000), LITTLE_ENDIAN)
  return { level: SOL_SOCKET, name: SO_RCVTIMEO, value }
}
