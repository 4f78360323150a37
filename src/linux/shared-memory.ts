/**
 * Zeroed memory that all threads of the process see, outside JavaScript's heap.
 *
 * A SharedArrayBuffer would do, but JavaScriptCore takes its whole size for garbage-to-be, touched
 * or not: 40 MiB of counters made each thread let more than 100 MiB of garbage lie before it
 * collected. Here only the windows that are looked through count.
 */
import { type Pointer, toArrayBuffer } from "bun:ffi"
import { libc } from "./libc.ts"

/** Plain data: what another thread needs to see the same memory. */
export interface SharedMemoryAddress {
  readonly address: number
  readonly bytes: number
}

export class SharedMemory {
  readonly location: SharedMemoryAddress

  constructor(location: SharedMemoryAddress) {
    this.location = location
  }

  /** Lives as long as the process: a hung thread may write to it whenever it comes to. */
  static allocate(bytes: number): SharedMemoryAddress {
    const address = Number(libc.mmap(null, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0))
    // MAP_FAILED is -1: the last page, which nobody gets.
    if (address <= 0 || address >= LAST_PAGE) throw new Error(`Cannot allocate ${bytes} bytes`)
    return { address, bytes }
  }

  /** In doubles. */
  get length(): number {
    return this.location.bytes / 8
  }

  /** A view of `count` doubles from the `at`-th. */
  doubles(at: number, count: number): Float64Array {
    const { address, bytes } = this.location
    if ((at + count) * 8 > bytes) throw new RangeError(`No double ${at + count} in ${bytes} bytes`)
    return new Float64Array(toArrayBuffer(address as Pointer, at * 8, count * 8))
  }
}

const PROT_READ_WRITE = 1 | 2
/** Private to the process, whose threads share it: the address space is one. */
const MAP_PRIVATE_ANONYMOUS = 0x02 | 0x20
const LAST_PAGE = 2 ** 64 - 4096
