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
  /** "X-Forwarded-For: …" to "Forwarded: for=…;" of this connection, made once. */
  forwardingText: ForwardingText | undefined
}

interface ForwardingText {
  /** X-Forwarded-For to X-Real-IP, and "X-Forwarded-Host: ". */
  readonly before: Buffer
  /** "\r\nForwarded: for=…;proto=…;host=". */
  readonly forwarded: Buffer
}

/** Identifies this thread's requests: random, and a count. */
const idPrefix = crypto.randomUUID().replaceAll("-", "").slice(0, 20)
let requestCount = 0x100000000000

export function writeForwardingFields(
  writer: HeadWriter,
  head: RequestHead,
  origin: ForwardingOrigin,
): void {
  if (origin.isTrusted) return writeSlowly(writer, head, origin)
  const { authority } = head
  if (authority === "") return writeSlowly(writer, head, origin)
  origin.forwardingText ??= textOf(origin)
  const { before, forwarded } = origin.forwardingText
  writer.put(before)
  writer.text(authority)
  writer.put(forwarded)
  writer.text(isToken(authority) ? authority : `"${authority}"`)
  writer.put(REQUEST_ID)
  writer.text(requestId())
  writer.put(LINE_END)
}

const REQUEST_ID = bytesOf("\r\nX-Request-ID: ")
const LINE_END = bytesOf("\r\n")

function textOf({ address, isTls, port, peerSubject }: ForwardingOrigin): ForwardingText {
  const proto = isTls ? "https" : "http"
  return {
    before: bytesOf(
      `X-Forwarded-For: ${address}\r\nX-Forwarded-Proto: ${proto}\r\n` +
        `X-Forwarded-Port: ${port}\r\nX-Real-IP: ${address}\r\n${subjectField(peerSubject)}` +
        "X-Forwarded-Host: ",
    ),
    forwarded: bytesOf(`\r\nForwarded: for=${nodeName(address)};proto=${proto};host=`),
  }
}

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

/** 32 hexadecimal digits: 20 random ones of this thread, then the count. */
function requestId(): string {
  return idPrefix + (++requestCount).toString(16)
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
