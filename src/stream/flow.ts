/**
 * One direction of a relayed connection: bytes from a source socket to a target socket.
 *
 * All flows of a thread share one large buffer, because bytes normally leave in the same call they
 * arrive in. Only what the target does not take is set aside, at most one buffer's worth, and the
 * source is not read again until that is gone: back-pressure reaches the sender through its TCP
 * window, and a stalled reader costs a bounded amount of memory.
 */
import { NativeBytes } from "../linux/bytes.ts"
import { EAGAIN } from "../linux/errno.ts"
import { disableNagle, receive, send, shutdownWrite } from "../linux/tcp.ts"

/** Large enough to make the two calls per chunk cheap (measured: 300 CPU ms per GB). */
const CHUNK_BYTES = 256 * 1024
/** Bytes one flow may move before the others get their turn. */
const TURN_BYTES = 4 * CHUNK_BYTES

const scratch = new NativeBytes(CHUNK_BYTES)

export const FlowState = {
  /** Everything that had arrived is passed on. */
  drained: 0,
  /** The target takes no more for now. */
  blocked: 1,
  /** The turn is over and there may be more. */
  yielded: 2,
  /** The source's end of stream has been passed on. */
  ended: 3,
  sourceFailed: 4,
  targetFailed: 5,
} as const
export type FlowState = (typeof FlowState)[keyof typeof FlowState]

export class Flow {
  readonly source: number
  readonly target: number
  /** Bytes passed on. */
  bytes = 0
  /** An edge said that the source has something to read, and it is not drained yet. */
  isReadable = false
  /** The source has sent FIN: after a short read the end of the stream still waits to be read. */
  isHungUp = false
  hasEnded = false
  /** Writes until Nagle's algorithm is turned off; negative: never. */
  #noDelayAfter: number
  #pending: NativeBytes | undefined = undefined
  #pendingStart = 0

  /**
   * `noDelay`: whether the target has TCP_NODELAY already, or is to get it before its second write.
   * A first write is never delayed, so a connection with one request saves the call.
   */
  constructor(source: number, target: number, noDelay: "inherited" | "after-first-write") {
    this.source = source
    this.target = target
    this.#noDelayAfter = noDelay === "inherited" ? -1 : 1
  }

  get isBlocked(): boolean {
    return this.#pending !== undefined
  }

  /** Moves what can be moved now. */
  pump(): FlowState {
    if (this.hasEnded) return FlowState.ended
    const pending = this.#pending === undefined ? FlowState.drained : this.#flushPending()
    if (pending !== FlowState.drained) return pending
    let turn = 0
    while (this.isReadable) {
      if (turn >= TURN_BYTES) return FlowState.yielded
      const count = receive(this.source, scratch, CHUNK_BYTES)
      if (count <= 0) return this.#stopReading(count)
      if (count < CHUNK_BYTES && !this.isHungUp) this.isReadable = false
      const state = this.#forward(count)
      if (state !== FlowState.drained) return state
      turn += count
    }
    return FlowState.drained
  }

  #stopReading(result: number): FlowState {
    this.isReadable = false
    if (result === -EAGAIN) return FlowState.drained
    if (result < 0) return FlowState.sourceFailed
    this.hasEnded = true
    shutdownWrite(this.target)
    return FlowState.ended
  }

  #forward(count: number): FlowState {
    if (this.#noDelayAfter >= 0 && this.#noDelayAfter-- === 0) disableNagle(this.target)
    const sent = send(this.target, scratch, 0, count)
    if (sent === count) {
      this.bytes += count
      return FlowState.drained
    }
    if (sent < 0 && sent !== -EAGAIN) return FlowState.targetFailed
    const taken = Math.max(sent, 0)
    this.bytes += taken
    this.#pending = NativeBytes.of(scratch.bytes.subarray(taken, count))
    this.#pendingStart = 0
    return FlowState.blocked
  }

  #flushPending(): FlowState {
    const pending = this.#pending as NativeBytes
    const sent = send(this.target, pending, this.#pendingStart, pending.bytes.length)
    if (sent === -EAGAIN) return FlowState.blocked
    if (sent < 0) return FlowState.targetFailed
    this.bytes += sent
    this.#pendingStart += sent
    if (this.#pendingStart < pending.bytes.length) return FlowState.blocked
    this.#pending = undefined
    return FlowState.drained
  }
}
