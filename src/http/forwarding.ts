/**
 * What a server is told of its client: X-Forwarded-*, X-Real-IP, X-Request-ID, and Forwarded
 * (RFC 7239). What came in is believed, and added to, only when the client is a trusted proxy;
 * otherwise it is dropped, because anyone can write these fields.
 */
import { type Address, familyOf } from "../net/address.ts"
import { FIELD } from "./field-names.ts"
import type { Head, RequestHead } from "./head.ts"
import { bytesOf, type HeadWriter } from "./parts.ts"
import { TOKEN } from "./syntax.ts"

/** Fields of the request that `writeForwardingFields` replaces: never copied. */
export const FORWARDING_FIELDS: readonly number[] = [
  FIELD["x-forwarded-for"],
  FIELD["x-forwarded-proto"],
  FIELD["x-forwarded-host"],
  FIELD["x-forwarded-port"],
  FIELD["x-real-ip"],
  FIELD["x-request-id"],
  FIELD.forwarded,
  FIELD["x-ssl-client-s-dn"],
]

export interface ForwardingOrigin {
  readonly address: Address
  readonly isTrusted: boolean
  readonly isTls: boolean
  readonly port: number
  /** Of the client's verified certificate; empty without one. */
  readonly peerSubject: string
  /** What the last request of this connection was sent with; most have the same. */
  forwardingText: ForwardingText | undefined
}

/** All lines that are the same for all requests of a connection to one host, in bytes. */
interface ForwardingText {
  readonly authority: string
  /** Ends with the beginning of the request's id. */
  readonly bytes: Buffer
}

export function writeForwardingFields(
  writer: HeadWriter,
  head: RequestHead,
  origin: ForwardingOrigin,
): void {
  const { authority } = head
  if (origin.isTrusted || authority === "") return writeSlowly(writer, head, origin)
  let text = origin.forwardingText
  if (text === undefined || text.authority !== authority) {
    text = { authority, bytes: bytesOf(linesOf(origin, authority)) }
    origin.forwardingText = text
  }
  writer.put(text.bytes)
  writer.put(nextRequestCount())
}

function linesOf(
  { address, isTls, port, peerSubject }: ForwardingOrigin,
  authority: string,
): string {
  const proto = isTls ? "https" : "http"
  const host = isToken(authority) ? authority : `"${authority}"`
  return (
    `X-Forwarded-For: ${address}\r\nX-Forwarded-Proto: ${proto}\r\n` +
    `X-Forwarded-Port: ${port}\r\nX-Real-IP: ${address}\r\n${subjectField(peerSubject)}` +
    `X-Forwarded-Host: ${authority}\r\n` +
    `Forwarded: for=${nodeName(address)};proto=${proto};host=${host}\r\n` +
    `X-Request-ID: ${REQUEST_ID_PREFIX}`
  )
}

/** Identifies this thread's requests: 20 random hexadecimal digits, then 12 that count. */
const REQUEST_ID_PREFIX = crypto.randomUUID().replaceAll("-", "").slice(0, 20)
const COUNT_DIGITS = 12
const requestCount = bytesOf(`${"0".repeat(COUNT_DIGITS)}\r\n`)

/** Counts on, digit by digit in place, and ends the line. */
function nextRequestCount(): Buffer {
  for (let at = COUNT_DIGITS - 1; at >= 0; at--) {
    const digit = requestCount[at] as number
    if (digit !== DIGIT_F) {
      requestCount[at] = digit === DIGIT_9 ? DIGIT_A : digit + 1
      break
    }
    requestCount[at] = DIGIT_0
  }
  return requestCount
}

const DIGIT_0 = 0x30
const DIGIT_9 = 0x39
const DIGIT_A = 0x61
const DIGIT_F = 0x66

/** As nginx users name it. The name in a certificate is the client's text: no control bytes. */
function subjectField(subject: string): string {
  if (subject === "") return ""
  return `X-SSL-Client-S-DN: ${subject.replace(/[^\x20-\x7e]/g, "?")}\r\n`
}

/** Adds this hop to what a trusted proxy said; and the rare request without a Host. */
function writeSlowly(writer: HeadWriter, head: RequestHead, origin: ForwardingOrigin): void {
  const { address, isTls, port, isTrusted } = origin
  const believed = (head: RequestHead, number: number) =>
    isTrusted ? valueOfField(head, number) : undefined
  const proto = believed(head, FIELD["x-forwarded-proto"]) ?? (isTls ? "https" : "http")
  const before = isTrusted ? valuesOf(head, FIELD["x-forwarded-for"]) : []
  const host = believed(head, FIELD["x-forwarded-host"]) ?? head.authority
  const forwarded = isTrusted ? valuesOf(head, FIELD.forwarded) : []
  const hop = `for=${nodeName(address)};proto=${isTls ? "https" : "http"}`
  writer.text(subjectField(origin.peerSubject))
  writer.field("X-Forwarded-For", [...before, address].join(", "))
  writer.field("X-Forwarded-Proto", proto)
  writer.field("X-Forwarded-Port", believed(head, FIELD["x-forwarded-port"]) ?? String(port))
  writer.field("X-Real-IP", believed(head, FIELD["x-real-ip"]) ?? address)
  if (host !== "") writer.field("X-Forwarded-Host", host)
  writer.field("Forwarded", [...forwarded, hop].join(", "))
  writer.field("X-Request-ID", believed(head, FIELD["x-request-id"]) ?? requestId())
}

function requestId(): string {
  return REQUEST_ID_PREFIX + nextRequestCount().toString("latin1", 0, COUNT_DIGITS)
}

/** RFC 7239 §6: an IPv6 address is quoted and bracketed. */
function nodeName(address: Address): string {
  return familyOf(address) === 6 ? `"[${address}]"` : address
}

/** A host with a port or brackets is no token and must be quoted. */
function isToken(authority: string): boolean {
  for (let at = 0; at < authority.length; at++) {
    if (TOKEN[authority.charCodeAt(at)] !== 1) return false
  }
  return true
}

export function valueOfField(head: Head, number: number): string | undefined {
  const index = head.find(number)
  return index < 0 ? undefined : head.value(index)
}

function valuesOf(head: RequestHead, number: number): string[] {
  const values: string[] = []
  for (let index = 0; index < head.fieldCount; index++) {
    if (head.numbers[index] === number) values.push(head.value(index))
  }
  return values
}
