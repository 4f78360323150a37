/**
 * Owned file descriptors. An `Fd` closes once; using it afterwards is a programmer error. With
 * `traceFds(true)` (tests) every open one remembers the stack that made it, so that a leak names
 * its maker.
 *
 * The data plane's sessions hold plain numbers instead, accounted in the thread's `FdLedger`: at
 * two per connection an object each would be the largest cost of accepting one.
 */
import { SystemError } from "./errno.ts"
import { lastErrno, libc } from "./libc.ts"

const openFds = new Map<Fd, string>()
let tracing = false

export class Fd {
  readonly description: string
  #number: number

  constructor(number: number, description: string) {
    this.#number = number
    this.description = description
    if (tracing) openFds.set(this, new Error(description).stack ?? description)
  }

  get number(): number {
    if (this.#number < 0) throw new Error(`Use of closed ${this.description}`)
    return this.#number
  }

  get closed(): boolean {
    return this.#number < 0
  }

  close(): void {
    if (this.#number < 0) return
    libc.close(this.#number)
    this.#number = -1
    openFds.delete(this)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** Turns stack tracing of open descriptors on or off (costs an Error per descriptor). */
export function traceFds(enabled: boolean): void {
  tracing = enabled
  openFds.clear()
}

/** Creation stacks of descriptors opened since `traceFds(true)` and not closed. */
export function leakedFds(): string[] {
  return [...openFds.values()]
}

/** Wraps the result of a call that returns a descriptor, or throws `SystemError`. */
export function ownFd(result: number, operation: string, description = operation): Fd {
  if (result < 0) throw new SystemError(operation, lastErrno())
  return new Fd(result, description)
}

/** Throws `SystemError` when a call returned -1; returns its result otherwise. */
export function check(result: number, operation: string, hint = ""): number {
  if (result < 0) throw new SystemError(operation, lastErrno(), hint)
  return result
}
