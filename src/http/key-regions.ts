/**
 * Hash tables from byte strings to numbers, many in one flat array. With 100 000 routes almost
 * nothing of a table is in the processor's cache, and every object on the way to an answer costs a
 * wait for memory as long as hashing a whole path. So all that is known of one host lies together,
 * and a look-up touches four or five cache lines where `Map`s of objects touched some twenty.
 *
 * A region is one table: a header of a few numbers for its owner, a power of two of slots (hash,
 * offset and length of the key, value; linear probing), and the keys' bytes, packed into cells.
 */

/** `bytes[start … end)`. */
export interface Bytes {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
}

export class KeyRegions {
  readonly #cells: Int32Array
  readonly #bytes: Uint8Array

  constructor(writer: RegionWriter) {
    this.#cells = Int32Array.from(writer.cells)
    this.#bytes = new Uint8Array(this.#cells.buffer)
  }

  /** Number `index` of a region's header. */
  header(region: number, index: number): number {
    return this.#cells[region + 1 + index] as number
  }

  /** Value of the key that `wanted` shows, whose hash is given; -1: there is none. */
  find(region: number, hash: number, wanted: Bytes): number {
    const cells = this.#cells
    const mask = cells[region] as number
    const slots = region + 1 + HEADER_CELLS
    for (let slot = spread(hash) & mask; ; slot = (slot + 1) & mask) {
      const at = slots + slot * SLOT_CELLS
      const length = cells[at + 2] as number
      if (length === EMPTY) return -1
      const isCandidate = cells[at] === hash && length === wanted.end - wanted.start
      if (isCandidate && this.#isKey(cells[at + 1] as number, wanted)) {
        return cells[at + 3] as number
      }
    }
  }

  #isKey(offset: number, { bytes, start, end }: Bytes): boolean {
    const keys = this.#bytes
    const shift = offset - start
    for (let at = start; at < end; at++) if (keys[at + shift] !== bytes[at]) return false
    return true
  }
}

export interface RegionKey {
  readonly hash: number
  readonly text: WrittenText
  /** Not negative. */
  readonly value: number
}

/** Text that is in the array already. */
export interface WrittenText {
  readonly offset: number
  readonly length: number
}

/** Lays regions out one after the other. */
export class RegionWriter {
  readonly cells: number[] = []

  /** `text` has one character for each byte. */
  text(text: string): WrittenText {
    const offset = this.cells.length * CELL_BYTES
    for (let at = 0; at < text.length; at += CELL_BYTES) {
      // Little-endian, as all machines that we run on.
      let cell = 0
      for (let byte = 0; byte < CELL_BYTES; byte++) {
        cell |= (text.charCodeAt(at + byte) || 0) << (8 * byte)
      }
      this.cells.push(cell)
    }
    return { offset, length: text.length }
  }

  /** Where the region begins. */
  region(header: readonly number[], keys: readonly RegionKey[]): number {
    const region = this.cells.length
    const capacity = 2 ** Math.ceil(Math.log2((keys.length * 4) / 3 + 1))
    const slots = new Int32Array(capacity * SLOT_CELLS).fill(EMPTY)
    for (const key of keys) insert(slots, key)
    this.cells.push(capacity - 1)
    for (let index = 0; index < HEADER_CELLS; index++) this.cells.push(header[index] ?? 0)
    for (const cell of slots) this.cells.push(cell)
    return region
  }
}

function insert(slots: Int32Array, { hash, text, value }: RegionKey): void {
  const mask = slots.length / SLOT_CELLS - 1
  let slot = spread(hash) & mask
  while (slots[slot * SLOT_CELLS + 2] !== EMPTY) slot = (slot + 1) & mask
  slots.set([hash, text.offset, text.length, value], slot * SLOT_CELLS)
}

export const HASH_SEED: number = 0x811c9dc5 | 0

/** FNV-1a, one byte. */
export function hashStep(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, 0x01000193)
}

export function hashOf(text: string): number {
  let hash = HASH_SEED
  for (let at = 0; at < text.length; at++) hash = hashStep(hash, text.charCodeAt(at))
  return hash
}

/** The high bits of FNV-1a know more than the low ones. */
function spread(hash: number): number {
  return hash ^ (hash >>> 15)
}

/** Numbers that belong to a region. */
const HEADER_CELLS = 4
/** Hash, offset and length of the key, value. */
const SLOT_CELLS = 4
const CELL_BYTES = 4
const EMPTY = -1
