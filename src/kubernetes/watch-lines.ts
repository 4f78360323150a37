/**
 * Cuts the byte stream of a watch into lines, one JSON event each, however the network cut it into
 * chunks. A line that is longer than any object the API can hold means that this is no watch; the
 * splitter then refuses all that follows.
 */

/** etcd takes 1.5 MiB an object, most API servers 3 MiB a request; JSON's escapes can double it. */
export const WATCH_LINE_BYTES_MAX = 8 * 1024 * 1024

export type WatchLinesResult =
  | { readonly ok: true; readonly lines: readonly string[] }
  | { readonly ok: false; readonly reason: "line_too_long" }

export class WatchLines {
  readonly #bytesMax: number
  #parts: Uint8Array[] = []
  #bytes = 0
  #failed = false

  constructor({ bytesMax = WATCH_LINE_BYTES_MAX }: { readonly bytesMax?: number } = {}) {
    this.#bytesMax = bytesMax
  }

  /** Lines completed by `chunk`, without their ends; empty ones are left out. */
  push(chunk: Uint8Array): WatchLinesResult {
    const lines: string[] = []
    let start = 0
    while (!this.#failed) {
      const end = chunk.indexOf(NEWLINE, start)
      const piece = chunk.subarray(start, end < 0 ? chunk.length : end)
      if (this.#bytes + piece.length > this.#bytesMax) {
        this.#failed = true
        this.#parts = []
      } else if (end < 0) {
        this.#keep(piece)
        return { ok: true, lines }
      } else {
        const line = this.#complete(piece)
        if (line.length > 0) lines.push(line)
        start = end + 1
      }
    }
    return { ok: false, reason: "line_too_long" }
  }

  /** Bytes of a line whose end has not come. */
  get pendingBytes(): number {
    return this.#bytes
  }

  #keep(piece: Uint8Array): void {
    if (piece.length === 0) return
    // A copy: the chunk may be a window of a far larger buffer.
    this.#parts.push(piece.slice())
    this.#bytes += piece.length
  }

  #complete(piece: Uint8Array): string {
    const bytes = this.#parts.length === 0 ? piece : Buffer.concat([...this.#parts, piece])
    this.#parts = []
    this.#bytes = 0
    return decoder.decode(bytes)
  }
}

const NEWLINE = 0x0a
/** Never throws: bytes that are no UTF-8 become U+FFFD. */
const decoder = new TextDecoder()
