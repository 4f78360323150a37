/**
 * Pipes to splice(2) through: bytes go from socket to socket by reference, never into our memory.
 *
 * Creating one costs three system calls, so a thread keeps a few. As non-root a user's pipes beyond
 * /proc/sys/fs/pipe-user-pages-soft shrink to two pages; one that could not be made large enough is
 * of no use and `take` says so, and the caller copies instead.
 */
import { NativeBytes } from "./bytes.ts"
import type { FdLedger } from "./fd-ledger.ts"
import { lastErrno, libc, NULL } from "./libc.ts"

const O_CLOEXEC = 0o2000000
const O_NONBLOCK = 0o4000
const F_SETPIPE_SZ = 1031
const SPLICE_F_MOVE = 1
const SPLICE_F_NONBLOCK = 2

/** The most an unprivileged process may ask for (fs.pipe-max-size). */
const PIPE_BYTES = 1024 * 1024
/** At most this much of the kernel's memory waits for stalled bulk flows of one thread. */
const PIPES_OPEN_MAX = 48
const PIPES_KEPT_MAX = 16

export interface Pipe {
  readonly readEnd: number
  readonly writeEnd: number
  /** Bytes in it. */
  fill: number
}

export class PipePool {
  readonly #ledger: FdLedger
  readonly #owner: number
  readonly #kept: Pipe[] = []
  readonly #ends = new NativeBytes(8)
  #open = 0
  #openMax = PIPES_OPEN_MAX

  constructor(ledger: FdLedger, owner: number) {
    this.#ledger = ledger
    this.#owner = owner
  }

  /** An empty pipe of 1 MiB, or undefined when there is none to be had. */
  take(): Pipe | undefined {
    const kept = this.#kept.pop()
    if (kept !== undefined) return kept
    if (this.#open >= this.#openMax) return undefined
    if (libc.pipe2(this.#ends.address, O_CLOEXEC | O_NONBLOCK) < 0) return undefined
    const readEnd = this.#ends.view.getInt32(0, true)
    const writeEnd = this.#ends.view.getInt32(4, true)
    this.#open++
    this.#ledger.take(readEnd, this.#owner)
    this.#ledger.take(writeEnd, this.#owner)
    const pipe = { readEnd, writeEnd, fill: 0 }
    if (libc.fcntl(writeEnd, F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES) return pipe
    this.#close(pipe)
    this.#openMax = this.#open // the user's quota: asking again at every read would cost more
    return undefined
  }

  /** Gives a pipe back; one that still holds bytes is closed. */
  give(pipe: Pipe): void {
    if (pipe.fill === 0 && this.#kept.length < PIPES_KEPT_MAX) this.#kept.push(pipe)
    else this.#close(pipe)
  }

  #close({ readEnd, writeEnd }: Pipe): void {
    for (const fd of [readEnd, writeEnd]) {
      this.#ledger.release(fd)
      libc.close(fd)
    }
    this.#open--
  }
}

/** Moves what has arrived at a socket into the pipe: bytes, 0 at the end, or a negated errno. */
export function spliceIn(socket: number, pipe: Pipe, bytesMax: number = PIPE_BYTES): number {
  const flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK
  const length = Math.min(bytesMax, PIPE_BYTES - pipe.fill)
  const moved = libc.splice(socket, NULL, pipe.writeEnd, NULL, length, flags)
  if (moved < 0) return -lastErrno()
  pipe.fill += moved
  return moved
}

/** Moves what the pipe holds to a socket: bytes taken, or a negated errno. */
export function spliceOut(pipe: Pipe, socket: number): number {
  const flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK
  const moved = libc.splice(pipe.readEnd, NULL, socket, NULL, pipe.fill, flags)
  if (moved < 0) return -lastErrno()
  pipe.fill -= moved
  return moved
}
