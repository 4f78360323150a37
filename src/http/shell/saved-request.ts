/**
 * Copies of requests that may have to be sent again. Nearly every request on a kept connection
 * needs one for the moment until its response begins, so the storage of small ones is used again
 * and again.
 */
import { NativeBytes } from "../../linux/bytes.ts"

const SMALL_BYTES = 4096
const KEPT_MAX = 1024

const kept: SavedRequest[] = []

export class SavedRequest {
  readonly bytes: NativeBytes
  readonly buffer: Buffer
  length = 0

  constructor(capacity: number) {
    this.bytes = new NativeBytes(capacity)
    this.buffer = Buffer.from(this.bytes.bytes.buffer)
  }
}

/** A copy of the first `length` bytes. */
export function saveRequest(from: Buffer, length: number): SavedRequest {
  const saved =
    length > SMALL_BYTES ? new SavedRequest(length) : (kept.pop() ?? new SavedRequest(SMALL_BYTES))
  saved.length = length
  from.copy(saved.buffer, 0, 0, length)
  return saved
}

/** The copy is not needed any more; nobody may use it after this. */
export function releaseRequest(saved: SavedRequest): void {
  if (saved.bytes.bytes.length === SMALL_BYTES && kept.length < KEPT_MAX) kept.push(saved)
}
