/**
 * The path of the request at hand, ready to be looked up: a hash of every prefix that ends with a
 * segment, made in one pass over the bytes, so that finding a route among 100 000 makes no string.
 *
 * One object serves all requests of a table. An ordinary path is looked up where it stands in the
 * head; any other is first brought to one form (`path-form.ts`).
 */
import type { RequestHead } from "./head.ts"
import { HASH_SEED, hashStep } from "./key-regions.ts"
import { formOf, type PathError, type PathForm } from "./path-form.ts"
import { SEMICOLON, SLASH } from "./syntax.ts"

export class RequestPath {
  /** The form to match: `bytes[start … end)`. */
  bytes: Uint8Array = NOTHING
  start = 0
  end = 0
  /** Of the whole path. */
  hash = 0
  /** Segments that end within `depthMax`. */
  segmentCount = 0
  /** Hash of the path up to and with the n-th segment. */
  readonly hashes: Int32Array
  /** Offset in `bytes` after the n-th segment. */
  readonly ends: Int32Array
  /** Offset of the "?" in the head, or the end of its path. */
  queryStart = 0
  /** What was received is as it is sent on. */
  isCanonical = true
  /** "OPTIONS *": matched as "/", sent on as it is. */
  isAsterisk = false
  #head: RequestHead | undefined = undefined
  #form: Extract<PathForm, { readonly ok: true }> | undefined = undefined
  readonly #mergesSlashes: boolean

  /** `depthMax`: segments of the longest prefix anybody looks for. */
  constructor(options: { readonly depthMax: number; readonly mergeSlashes: boolean }) {
    this.hashes = new Int32Array(options.depthMax)
    this.ends = new Int32Array(options.depthMax)
    this.#mergesSlashes = options.mergeSlashes
  }

  /** Reads the path of a parsed head, which must stay as it is while this is used. */
  read(head: RequestHead): PathError | undefined {
    this.#head = head
    this.#form = undefined
    this.isCanonical = true
    this.isAsterisk = false
    const { bytes, pathStart } = head
    if (bytes[pathStart] !== SLASH) return this.#readUnusual(head)
    return this.#scan(head) ? undefined : this.#readForm(head, pathStart)
  }

  /** Text of the form that is matched, as UTF-8 has it. */
  get text(): string {
    return Buffer.from(
      this.bytes.buffer,
      this.bytes.byteOffset + this.start,
      this.end - this.start,
    ).toString("utf8")
  }

  /** "?" and what follows it, or "". */
  get query(): string {
    const head = this.#head as RequestHead
    return head.bytes.toString("latin1", this.queryStart, head.pathEnd)
  }

  /** Path and query to send on; undefined: as received. */
  get target(): string | undefined {
    if (this.isCanonical || this.#form === undefined) return undefined
    return this.#form.forward + this.query
  }

  /** Path and query in any case. */
  get targetText(): string {
    const head = this.#head as RequestHead
    return this.target ?? head.bytes.toString("latin1", head.pathStart, head.pathEnd)
  }

  /** What follows the n-th segment, with the query. Begins with "/" or "?", or is empty. */
  restAfter(segments: number): string {
    const head = this.#head as RequestHead
    if (this.#form === undefined) {
      const start = segments === 0 ? head.pathStart : (this.ends[segments - 1] as number)
      return head.bytes.toString("latin1", start, head.pathEnd)
    }
    const { forward, segmentEnds } = this.#form
    const rest = segments === 0 ? forward : forward.slice(segmentEnds[segments - 1])
    return rest.replace(/^(?:%2F|%5C)/, "/") + this.query
  }

  /** One pass over an ordinary path; false: it is not ordinary. */
  #scan(head: RequestHead): boolean {
    const { bytes, pathStart, pathEnd } = head
    let at = pathStart + 1
    let previous = SLASH
    let hash = hashStep(HASH_SEED, SLASH)
    this.segmentCount = 0
    for (; at < pathEnd; at++) {
      const byte = bytes[at] as number
      if (byte === QUESTION_MARK) break
      if (byte === SLASH) {
        if (previous === SLASH && this.#mergesSlashes) return false
        this.#endSegment(at, hash)
      } else if (IS_UNUSUAL[byte] === 1 && (byte !== DOT || previous === SLASH)) return false
      hash = hashStep(hash, byte)
      previous = byte
    }
    if (previous !== SLASH) this.#endSegment(at, hash)
    this.bytes = bytes
    this.start = pathStart
    this.end = at
    this.queryStart = at
    this.hash = hash
    return true
  }

  /** "*" of OPTIONS, or an absolute form without a path ("http://host?q"), which means "/". */
  #readUnusual(head: RequestHead): PathError | undefined {
    this.isAsterisk = head.bytes[head.pathStart] === ASTERISK && head.pathStart === head.targetStart
    this.queryStart = this.isAsterisk ? head.pathEnd : head.pathStart
    this.isCanonical = this.isAsterisk
    if (!this.isAsterisk) this.#form = { ok: true, forward: "/", match: "/", segmentEnds: [] }
    this.#hashForm("/")
    return undefined
  }

  #readForm(head: RequestHead, start: number): PathError | undefined {
    const { bytes, pathEnd } = head
    let end = start
    while (end < pathEnd && bytes[end] !== QUESTION_MARK) end++
    this.queryStart = end
    const options = { mergeSlashes: this.#mergesSlashes }
    const received = bytes.toString("latin1", start, end)
    const form = formOf(received, options)
    if (!form.ok) return form.reason
    this.#form = form
    this.isCanonical = form.forward === received
    this.#hashForm(form.match)
    return undefined
  }

  #hashForm(match: string): void {
    const bytes = Buffer.from(match, "latin1")
    let previous = SLASH
    let hash = hashStep(HASH_SEED, SLASH)
    this.segmentCount = 0
    for (let at = 1; at < bytes.length; at++) {
      const byte = bytes[at] as number
      if (byte === SLASH && (previous !== SLASH || !this.#mergesSlashes)) {
        this.#endSegment(at, hash)
      }
      hash = hashStep(hash, byte)
      previous = byte
    }
    if (previous !== SLASH) this.#endSegment(bytes.length, hash)
    this.bytes = bytes
    this.start = 0
    this.end = bytes.length
    this.hash = hash
  }

  #endSegment(at: number, hash: number): void {
    if (this.segmentCount === this.hashes.length) return
    this.hashes[this.segmentCount] = hash
    this.ends[this.segmentCount] = at
    this.segmentCount++
  }
}

const QUESTION_MARK = 0x3f
const DOT = 0x2e
const ASTERISK = 0x2a
const NOTHING = new Uint8Array(0)

/** Bytes after which a path is not looked up as it stands; a dot only at the start of a segment. */
const IS_UNUSUAL = new Uint8Array(256)
for (const byte of [0x25 /* % */, 0x5c /* \ */, SEMICOLON, DOT]) IS_UNUSUAL[byte] = 1
