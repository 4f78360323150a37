/**
 * epoll(7) for a loop that handles many events per call without making objects.
 *
 * `struct epoll_event` is packed (12 bytes) on x86-64 and naturally aligned (16) elsewhere. The 64
 * bits of user data carry the descriptor and a generation: a descriptor closed while handling one
 * event may be reused at once by the next accept, and an event of the old one that is still in the
 * batch must not reach the new owner.
 */
import { NativeBytes } from "./bytes.ts"
import { EINTR, SystemError } from "./errno.ts"
import { check, type Fd, ownFd } from "./fd.ts"
import { lastErrno, libc, NULL } from "./libc.ts"

export const EPOLLIN = 0x001
export const EPOLLPRI = 0x002
export const EPOLLOUT = 0x004
export const EPOLLERR = 0x008
export const EPOLLHUP = 0x010
export const EPOLLRDHUP = 0x2000
export const EPOLLET = 0x80000000 | 0
export const EPOLLEXCLUSIVE = 0x10000000

const EPOLL_CLOEXEC = 0o2000000
const EPOLL_CTL_ADD = 1
const EPOLL_CTL_DEL = 2
const EPOLL_CTL_MOD = 3

export interface EpollEventLayout {
  readonly size: number
  readonly dataOffset: number
}

/** Size of `struct epoll_event` and offset of its data (asserted by a test for both machines). */
export function epollEventLayout(arch: string): EpollEventLayout {
  return arch === "x64" ? { size: 12, dataOffset: 4 } : { size: 16, dataOffset: 8 }
}

const LAYOUT = epollEventLayout(process.arch)
const STRIDE = LAYOUT.size / 4
const DATA = LAYOUT.dataOffset / 4

export class Epoll {
  readonly #fd: Fd
  readonly #events: NativeBytes
  readonly #words: Int32Array
  readonly #eventsMax: number
  readonly #one = new NativeBytes(16)
  readonly #oneWords = new Int32Array(this.#one.bytes.buffer)

  constructor(eventsMax: number) {
    this.#fd = ownFd(libc.epoll_create1(EPOLL_CLOEXEC), "create epoll set")
    this.#eventsMax = eventsMax
    this.#events = new NativeBytes(eventsMax * LAYOUT.size)
    this.#words = new Int32Array(this.#events.bytes.buffer)
  }

  /** The set's own descriptor. */
  get descriptor(): number {
    return this.#fd.number
  }

  /** Throws `SystemError`. */
  add(fd: number, events: number, generation = 0): void {
    check(this.#control(EPOLL_CTL_ADD, fd, events, generation), "add to epoll set")
  }

  modify(fd: number, events: number, generation = 0): void {
    check(this.#control(EPOLL_CTL_MOD, fd, events, generation), "modify in epoll set")
  }

  /** Never fails: a descriptor that is not in the set is as gone as it should be. */
  remove(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, 0, 0)
  }

  /**
   * Waits up to `timeoutMs` (-1: for ever, 0: not at all) and returns the number of events, which
   * `fd`, `generation` and `events` then read by index until the next call.
   */
  wait(timeoutMs: number): number {
    const count = libc.epoll_wait(this.#fd.number, this.#events.address, this.#eventsMax, timeoutMs)
    if (count >= 0) return count
    const errno = lastErrno()
    if (errno === EINTR) return 0
    throw new SystemError("wait for events", errno)
  }

  events(index: number): number {
    return this.#words[index * STRIDE] as number
  }

  fd(index: number): number {
    return this.#words[index * STRIDE + DATA] as number
  }

  generation(index: number): number {
    return this.#words[index * STRIDE + DATA + 1] as number
  }

  close(): void {
    this.#fd.close()
  }

  #control(operation: number, fd: number, events: number, generation: number): number {
    this.#oneWords[0] = events
    this.#oneWords[DATA] = fd
    this.#oneWords[DATA + 1] = generation
    const event = operation === EPOLL_CTL_DEL ? NULL : this.#one.address
    return libc.epoll_ctl(this.#fd.number, operation, fd, event)
  }
}
