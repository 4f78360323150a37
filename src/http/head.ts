/**
 * The head of an HTTP/1.1 message: start line and fields (RFC 9112 §2–5), as offsets into the bytes
 * it was read from. Nothing is copied and, on the ordinary path, no string is made: routing reads
 * the ranges it needs, and forwarding copies runs of fields as they stand.
 *
 * `parse` looks at the whole head each time. While its end has not arrived it answers "incomplete",
 * and the caller tries again when another line end has: with the limit on fields that bounds the
 * work a slow sender can cause, and no state is kept between the chunks.
 *
 * A parser is strict where HTTP desync attacks live: bare CR or LF, NUL and other controls,
 * obs-fold, space before the colon, both lengths, lengths that are not plain digits. What is
 * refused, and with which status, is in `HeadError`.
 */
import { parseAddress } from "../net/address.ts"
import { FIELD, fieldNumber, HASH_SEED, hashStep } from "./field-names.ts"
import {
  ASTERISK,
  COLON,
  CR,
  equalsIgnoringCase,
  FIELD_VALUE,
  HTAB,
  LF,
  NAME,
  SLASH,
  SP,
  TARGET,
  TOKEN,
} from "./syntax.ts"

export type HeadError =
  /** Method, target or version is not as RFC 9112 §3 has it. */
  | "bad-start-line"
  /** HTTP/2.0, HTTP/1.2, HTTP/0.9. */
  | "unsupported-version"
  | "bad-field-name"
  | "bad-field-value"
  | "obs-fold"
  | "bare-cr"
  | "bare-lf"
  | "target-too-long"
  | "head-too-large"
  | "too-many-fields"
  | "missing-host"
  | "bad-host"
  | "bad-content-length"
  | "bad-transfer-encoding"
  | "unsupported-transfer-coding"
  | "length-and-transfer-encoding"
  | "bad-target"
  /** CONNECT and TRACE: an edge is no forward proxy, and shows nobody what it adds to a request. */
  | "method-not-served"
  | "unknown-expectation"

export interface HeadLimits {
  readonly headBytesMax: number
  readonly fieldsMax: number
}

/** Answers of `parse` beside an error. */
export type HeadResult = "complete" | "incomplete" | HeadError

/** Codings that exist (RFC 9112 §7.2 and what is taken for one), chunked last if at all. */
const CODING = "(x-)?(gzip|deflate|compress|identity|br|zstd)"
const COMMA = "[\\t ]*,[\\t ]*"
const KNOWN_CODINGS = new RegExp(`^${CODING}(${COMMA}${CODING})*(${COMMA}chunked)?$`)

const CELLS = 4
const FIELDS_MAX = 1024

/** Start line and fields of either kind of message. */
export abstract class Head {
  bytes: Buffer = Buffer.alloc(0)
  /** First byte of the start line. */
  start = 0
  /** First byte after the empty line. */
  end = 0
  /** First byte of the first field line; the last one ends two bytes before `end`. */
  fieldsStart = 0
  fieldCount = 0
  /** Of each field: name start, name end, value start, value end. A field ends with CRLF. */
  readonly ranges = new Int32Array(FIELDS_MAX * CELLS)
  readonly numbers = new Uint8Array(FIELDS_MAX)
  /** 0 or 1. */
  minorVersion = 1
  /** -1: no such field. */
  contentLength = -1
  isChunked = false

  /** Parses the head that starts at `start`; the bytes after `end` are not here yet. */
  parse(bytes: Buffer, start: number, end: number, limits: HeadLimits): HeadResult {
    this.bytes = bytes
    this.fieldCount = 0
    this.contentLength = -1
    this.isChunked = false
    this.reset()
    const limit = Math.min(end, start + limits.headBytesMax)
    const line = this.parseStartLine(bytes, start, limit)
    if (line === "incomplete") return limit < end ? "target-too-long" : line
    if (typeof line === "string") return line
    this.fieldsStart = line
    const result = this.#parseFields(line, limit, limits.fieldsMax)
    if (result === "incomplete") return limit < end ? "head-too-large" : result
    return result === "complete" ? this.checkFields() : result
  }

  /** Text of field `index`'s value, Latin-1. */
  value(index: number): string {
    const at = index * CELLS
    const { ranges } = this
    return latin1(this.bytes, ranges[at + 2] as number, ranges[at + 3] as number)
  }

  /** Name of field `index`, lower case. */
  name(index: number): string {
    const at = index * CELLS
    const { ranges } = this
    return latin1(this.bytes, ranges[at] as number, ranges[at + 1] as number).toLowerCase()
  }

  /** Index of the first field with this number, -1 if there is none. */
  find(number: number): number {
    for (let index = 0; index < this.fieldCount; index++) {
      if (this.numbers[index] === number) return index
    }
    return -1
  }

  /** Value of the first field with this name (lower case). */
  valueByName(name: string): string | undefined {
    for (let index = 0; index < this.fieldCount; index++) {
      const at = index * CELLS
      const start = this.ranges[at] as number
      if (equalsIgnoringCase(name, this.bytes, start, this.ranges[at + 1] as number)) {
        return this.value(index)
      }
    }
    return undefined
  }

  /** Whether field `index` has exactly this value (lower case) in any case. */
  hasValue(index: number, value: string): boolean {
    const at = index * CELLS
    const { ranges } = this
    return equalsIgnoringCase(value, this.bytes, ranges[at + 2] as number, ranges[at + 3] as number)
  }

  /** Whether field `index` has this name, folded by `foldedName`. */
  hasName(index: number, folded: string): boolean {
    const at = index * CELLS
    const start = this.ranges[at] as number
    if ((this.ranges[at + 1] as number) - start !== folded.length) return false
    for (let offset = 0; offset < folded.length; offset++) {
      const byte = this.bytes[start + offset] as number
      if (NAME[byte] !== folded.charCodeAt(offset)) return false
    }
    return true
  }

  /** First byte of a field's line. */
  fieldStart(index: number): number {
    return this.ranges[index * CELLS] as number
  }

  /** First byte after the line end of a field. */
  fieldEnd(index: number): number {
    const next = index + 1
    return next < this.fieldCount ? this.fieldStart(next) : this.end - 2
  }

  /** Forgets what the last message left in the subclass. */
  protected abstract reset(): void

  /** Offset after the line end, or why there is none. */
  protected abstract parseStartLine(bytes: Buffer, start: number, end: number): number | HeadResult

  /** What fields mean together; called once all are in. */
  protected abstract checkFields(): HeadResult

  /** Content-Length and Transfer-Encoding (RFC 9112 §6). Call from `checkFields`. */
  protected checkFraming(): HeadResult {
    for (let index = 0; index < this.fieldCount; index++) {
      const number = this.numbers[index]
      if (number === FIELD["content-length"]) {
        const error = this.#readContentLength(index)
        if (error !== undefined) return error
      } else if (number === FIELD["transfer-encoding"]) {
        const error = this.#readTransferEncoding(index)
        if (error !== undefined) return error
      }
    }
    if (this.isChunked && this.contentLength >= 0) return "length-and-transfer-encoding"
    // RFC 9112 §6.1: a 1.0 sender does not know transfer codings; somebody in between may.
    return this.isChunked && this.minorVersion === 0 ? "bad-transfer-encoding" : "complete"
  }

  #parseFields(start: number, end: number, fieldsMax: number): HeadResult {
    const { bytes } = this
    let at = start
    for (;;) {
      if (at >= end) return "incomplete"
      if (bytes[at] === CR) {
        if (at + 1 >= end) return "incomplete"
        if (bytes[at + 1] !== LF) return "bare-cr"
        this.end = at + 2
        return "complete"
      }
      if (this.fieldCount >= Math.min(fieldsMax, FIELDS_MAX)) return "too-many-fields"
      const next = this.#parseField(at, end)
      if (typeof next === "string") return next
      at = next
    }
  }

  #parseField(start: number, end: number): number | HeadResult {
    const { bytes, ranges } = this
    let hash = HASH_SEED
    let at = start
    for (; at < end; at++) {
      const folded = NAME[bytes[at] as number] as number
      if (folded === 0) break
      hash = hashStep(hash, folded)
    }
    if (at >= end) return "incomplete"
    if (bytes[at] !== COLON || at === start) return nameError(bytes[at] as number, at === start)
    const nameEnd = at++
    while (at < end && (bytes[at] === SP || bytes[at] === HTAB)) at++
    const valueStart = at
    while (at < end && FIELD_VALUE[bytes[at] as number] === 1) at++
    if (at >= end) return "incomplete"
    if (bytes[at] !== CR) return bytes[at] === LF ? "bare-lf" : "bad-field-value"
    if (at + 1 >= end) return "incomplete"
    if (bytes[at + 1] !== LF) return "bare-cr"
    let valueEnd = at
    while (valueEnd > valueStart && isBlank(bytes[valueEnd - 1] as number)) valueEnd--
    const cell = this.fieldCount * CELLS
    ranges[cell] = start
    ranges[cell + 1] = nameEnd
    ranges[cell + 2] = valueStart
    ranges[cell + 3] = valueEnd
    this.numbers[this.fieldCount++] = fieldNumber(hash, bytes, start, nameEnd)
    return at + 2
  }

  #readContentLength(index: number): HeadError | undefined {
    const { bytes, ranges } = this
    const start = ranges[index * CELLS + 2] as number
    const end = ranges[index * CELLS + 3] as number
    // A second one is refused even when equal: not everyone behind us reads "5, 5" as 5.
    if (this.contentLength >= 0 || end === start || end - start > 15) return "bad-content-length"
    let length = 0
    for (let at = start; at < end; at++) {
      const digit = (bytes[at] as number) - 0x30
      if (digit < 0 || digit > 9) return "bad-content-length"
      length = length * 10 + digit
    }
    this.contentLength = length
    return undefined
  }

  #readTransferEncoding(index: number): HeadError | undefined {
    if (this.isChunked) return "bad-transfer-encoding"
    if (this.hasValue(index, "chunked")) {
      this.isChunked = true
      return undefined
    }
    const value = this.value(index).toLowerCase()
    return KNOWN_CODINGS.test(value) ? "unsupported-transfer-coding" : "bad-transfer-encoding"
  }
}

export class RequestHead extends Head {
  method = ""
  /** Start and end of the target as sent. */
  targetStart = 0
  targetEnd = 0
  /** Start and end of path and query; of "/" where an absolute form has none. */
  pathStart = 0
  pathEnd = 0
  /** Host, lower case, without port; the target's where it names one (RFC 9112 §3.2.2). */
  host = ""
  /** As the next hop is to see it, with port. */
  authority = ""
  expectsContinue = false
  #lastAuthority = ""
  #lastHost = ""

  protected override reset(): void {
    this.method = ""
    this.host = ""
    this.authority = ""
    this.expectsContinue = false
    this.targetStart = 0
    this.targetEnd = 0
    this.pathStart = 0
    this.pathEnd = 0
  }

  protected override parseStartLine(
    bytes: Buffer,
    first: number,
    end: number,
  ): number | HeadResult {
    // RFC 9112 §2.2: one empty line before a request is forgiven (a client's stray CRLF).
    let start = first
    if (start < end && bytes[start] === CR) {
      if (start + 1 >= end) return "incomplete"
      if (bytes[start + 1] === LF) start += 2
    }
    this.start = start
    let at = start
    while (at < end && TOKEN[bytes[at] as number] === 1) at++
    if (at >= end) return "incomplete"
    if (bytes[at] !== SP || at === start) return startLineError(bytes[at] as number)
    const method = methodName(bytes, start, at)
    if (method === undefined) return "bad-start-line"
    this.method = method
    this.targetStart = ++at
    while (at < end && TARGET[bytes[at] as number] === 1) at++
    if (at >= end) return "incomplete"
    if (bytes[at] !== SP || at === this.targetStart) return startLineError(bytes[at] as number)
    this.targetEnd = at
    return this.#parseVersion(at + 1, end)
  }

  protected override checkFields(): HeadResult {
    const framing = this.checkFraming()
    if (framing !== "complete") return framing
    if (this.method === "CONNECT" || this.method === "TRACE") return "method-not-served"
    return this.#checkHost() ?? this.#checkTarget() ?? this.#checkExpect()
  }

  #parseVersion(start: number, end: number): number | HeadResult {
    const { bytes } = this
    const text = "HTTP/"
    for (let at = 0; at < text.length; at++) {
      if (start + at >= end) return "incomplete"
      if (bytes[start + at] !== text.charCodeAt(at))
        return startLineError(bytes[start + at] as number)
    }
    if (start + 10 > end) return "incomplete"
    const major = bytes[start + 5] as number
    const minor = bytes[start + 7] as number
    if (bytes[start + 6] !== 0x2e || !isDigit(major) || !isDigit(minor)) return "bad-start-line"
    if (bytes[start + 8] !== CR) return startLineError(bytes[start + 8] as number)
    if (bytes[start + 9] !== LF) return "bare-cr"
    if (major !== 0x31 || minor > 0x31) return "unsupported-version"
    this.minorVersion = minor - 0x30
    return start + 10
  }

  #checkHost(): HeadError | undefined {
    let found = -1
    for (let index = 0; index < this.fieldCount; index++) {
      if (this.numbers[index] !== FIELD.host) continue
      if (found >= 0) return "bad-host"
      found = index
    }
    if (found < 0) return this.minorVersion === 1 ? "missing-host" : undefined
    const authority = this.#authorityOf(found)
    if (authority === "" && this.minorVersion === 0) return undefined
    return this.#useAuthority(authority)
  }

  #useAuthority(authority: string): HeadError | undefined {
    if (authority === "" || authority !== this.#lastAuthority) {
      const host = hostOf(authority)
      if (host === undefined) return "bad-host"
      this.#lastAuthority = authority
      this.#lastHost = host
    }
    this.authority = authority
    this.host = this.#lastHost
    return undefined
  }

  /** Clients ask the same host again and again: its text is made once. */
  #authorityOf(index: number): string {
    const last = this.#lastAuthority
    const start = this.ranges[index * CELLS + 2] as number
    const end = this.ranges[index * CELLS + 3] as number
    if (end - start !== last.length) return this.value(index)
    for (let at = 0; at < last.length; at++) {
      if (this.bytes[start + at] !== last.charCodeAt(at)) return this.value(index)
    }
    return last
  }

  /** Finds path and query (RFC 9112 §3.2). */
  #checkTarget(): HeadError | undefined {
    const { bytes, targetStart, targetEnd } = this
    this.pathStart = targetStart
    this.pathEnd = targetEnd
    if (bytes[targetStart] === SLASH) return undefined
    if (bytes[targetStart] === ASTERISK && targetEnd - targetStart === 1) {
      return this.method === "OPTIONS" ? undefined : "bad-target"
    }
    return this.#checkAbsoluteForm()
  }

  /** Its authority counts, whatever Host says (RFC 9112 §3.2.2). */
  #checkAbsoluteForm(): HeadError | undefined {
    const { bytes, targetStart, targetEnd } = this
    const target = latin1(bytes, targetStart, targetEnd)
    const match = /^https?:\/\/([^/?]+)/i.exec(target)
    if (match === null) return "bad-target"
    // "http://host?q" has an empty path, which is sent on as "/" (RFC 9112 §3.2.1).
    this.pathStart = targetStart + match[0].length
    return this.#useAuthority(match[1] as string)
  }

  #checkExpect(): HeadResult {
    // RFC 9110 §10.1.1: nobody expected anything in HTTP/1.0.
    if (this.minorVersion === 0) return "complete"
    for (let index = 0; index < this.fieldCount; index++) {
      if (this.numbers[index] !== FIELD.expect) continue
      if (!this.hasValue(index, "100-continue")) return "unknown-expectation"
      this.expectsContinue = true
    }
    return "complete"
  }
}

export class ResponseHead extends Head {
  status = 0

  protected override reset(): void {
    this.status = 0
  }

  protected override parseStartLine(
    bytes: Buffer,
    start: number,
    end: number,
  ): number | HeadResult {
    this.start = start
    const text = "HTTP/1."
    for (let at = 0; at < text.length; at++) {
      if (start + at >= end) return "incomplete"
      if (bytes[start + at] !== text.charCodeAt(at)) return "bad-start-line"
    }
    if (start + 14 > end) return "incomplete"
    const minor = (bytes[start + 7] as number) - 0x30
    if (minor !== 0 && minor !== 1) return "unsupported-version"
    this.minorVersion = minor
    this.status = statusCode(bytes, start + 9)
    if (bytes[start + 8] !== SP || this.status < 100) return "bad-start-line"
    // The reason phrase, and with it the blank before it, is often left out.
    let at = start + 12
    if (bytes[at] !== SP && bytes[at] !== CR) return "bad-start-line"
    while (at < end && FIELD_VALUE[bytes[at] as number] === 1) at++
    if (at + 1 >= end) return "incomplete"
    if (bytes[at] !== CR) return startLineError(bytes[at] as number)
    return bytes[at + 1] === LF ? at + 2 : "bare-cr"
  }

  protected override checkFields(): HeadResult {
    return this.checkFraming()
  }
}

const METHODS = ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"]

/**
 * A string that exists already, for the methods everyone uses. Undefined for one of them in another
 * case: methods are case-sensitive (RFC 9110 §9.1), but a server that takes "head" for HEAD would
 * send no body where we wait for one.
 */
function methodName(bytes: Buffer, start: number, end: number): string | undefined {
  for (const method of METHODS) {
    if (method.length !== end - start) continue
    let at = 0
    while (at < method.length && bytes[start + at] === method.charCodeAt(at)) at++
    if (at === method.length) return method
  }
  const method = latin1(bytes, start, end)
  return METHODS.includes(method.toUpperCase()) ? undefined : method
}

/** Host of "name", "name:port", "[v6]:port" in lower case; undefined when malformed. */
function hostOf(authority: string): string | undefined {
  const match = AUTHORITY.exec(authority)
  if (match === null || Number(match[3] ?? 0) > 65535) return undefined
  if (match[2] !== undefined && parseAddress(match[2])?.includes(":") !== true) return undefined
  return (match[1] as string).toLowerCase()
}

/** RFC 3986 §3.2.2 and 3.2.3: reg-name or IPv6 address, port; RFC 9110 §4.2.4: no userinfo. */
const AUTHORITY =
  /^((?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+|\[([0-9A-Fa-f:.]+)\])(?::(\d{0,5}))?$/

function statusCode(bytes: Buffer, start: number): number {
  let status = 0
  for (let at = start; at < start + 3; at++) {
    if (!isDigit(bytes[at] as number)) return -1
    status = status * 10 + (bytes[at] as number) - 0x30
  }
  return status
}

function startLineError(byte: number): HeadError {
  if (byte === LF) return "bare-lf"
  return byte === CR ? "bare-cr" : "bad-start-line"
}

function nameError(byte: number, isFirst: boolean): HeadError {
  if (isFirst && isBlank(byte)) return "obs-fold"
  return byte === LF ? "bare-lf" : "bad-field-name"
}

function isBlank(byte: number): boolean {
  return byte === SP || byte === HTAB
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39
}

function latin1(bytes: Buffer, start: number, end: number): string {
  return bytes.toString("latin1", start, end)
}
