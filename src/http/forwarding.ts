/**
 * What a server is told of its client: X-Forwarded-*, X-Real-IP, X-Request-ID, and Forwarded
 * (RFC 7239). What came in is believed, and added to, only when the client is a trusted proxy;
 * otherwise it is dropped, because anyone can write these fields.
 */
import { type Address, familyOf } from "../net/address.ts"
import { FIELD } from "./field-names.ts"
import type { RequestHead } from "./head.ts"
import type { HeadWriter } from "./parts.ts"

/** Fields of the request that `writeForwardingFields` replaces: never copied. */
export const FORWARDING_FIELDS: readonly number[] = [
  FIELD["x-forwarded-for"],
  FIELD["x-forwarded-proto"],
  FIELD["x-forwarded-host"],
  FIELD["x-forwarded-port"],
  FIELD["x-real-ip"],
  FIELD["x-request-id"],
  FIELD.forwarded,
]

export interface ForwardingOrigin {
  readonly address: Address
  readonly isTrusted: boolean
  readonly isTls: boolean
  readonly port: number
  /** "X-Forwarded-For: …" to "Forwarded: for=…;" of this connection, made once. */
  forwardingText: ForwardingText | undefined
}

interface ForwardingText {
  readonly before: string
  readonly forwarded: string
}

/** Identifies this thread's requests: random, and a count. */
const idPrefix = crypto.randomUUID().replaceAll("-", "").slice(0, 20)
let requestCount = 0

export function writeForwardingFields(
  writer: HeadWriter,
  head: RequestHead,
  origin: ForwardingOrigin,
): void {
  if (origin.isTrusted) return writeTrusted(writer, head, origin)
  origin.forwardingText ??= textOf(origin)
  const { before, forwarded } = origin.forwardingText
  writer.text(before)
  if (head.authority !== "") {
    writer.field("X-Forwarded-Host", head.authority)
    writer.text(forwarded)
    writer.text(quotedHost(head.authority))
    writer.text("\r\n")
  } else {
    writer.text(forwarded.slice(0, forwarded.lastIndexOf(";host=")))
    writer.text("\r\n")
  }
  writer.field("X-Request-ID", requestId())
}

function textOf({ address, isTls, port }: ForwardingOrigin): ForwardingText {
  const proto = isTls ? "https" : "http"
  return {
    before:
      `X-Forwarded-For: ${address}\r\nX-Forwarded-Proto: ${proto}\r\n` +
      `X-Forwarded-Port: ${port}\r\nX-Real-IP: ${address}\r\n`,
    forwarded: `Forwarded: for=${nodeName(address)};proto=${proto};host=`,
  }
}

/** Adds this hop to what the trusted proxy said. */
function writeTrusted(writer: HeadWriter, head: RequestHead, origin: ForwardingOrigin): void {
  const { address, isTls, port } = origin
  const proto = valueOf(head, FIELD["x-forwarded-proto"]) ?? (isTls ? "https" : "http")
  const before = valuesOf(head, FIELD["x-forwarded-for"])
  const host = valueOf(head, FIELD["x-forwarded-host"]) ?? head.authority
  const forwarded = valuesOf(head, FIELD.forwarded)
  const hop = `for=${nodeName(address)};proto=${isTls ? "https" : "http"}`
  writer.field("X-Forwarded-For", [...before, address].join(", "))
  writer.field("X-Forwarded-Proto", proto)
  writer.field("X-Forwarded-Port", valueOf(head, FIELD["x-forwarded-port"]) ?? String(port))
  writer.field("X-Real-IP", valueOf(head, FIELD["x-real-ip"]) ?? address)
  if (host !== "") writer.field("X-Forwarded-Host", host)
  writer.field("Forwarded", [...forwarded, hop].join(", "))
  writer.field("X-Request-ID", valueOf(head, FIELD["x-request-id"]) ?? requestId())
}

function requestId(): string {
  requestCount = (requestCount + 1) >>> 0
  return idPrefix + (requestCount + 0x100000000).toString(16).slice(-8) + "0000"
}

/** RFC 7239 §6: an IPv6 address is quoted and bracketed. */
function nodeName(address: Address): string {
  return familyOf(address) === 6 ? `"[${address}]"` : address
}

/** A host with a port or brackets is no token and must be quoted. */
function quotedHost(authority: string): string {
  return /^[A-Za-z0-9.-]+$/.test(authority) ? authority : `"${authority.replace(/["\\]/g, "")}"`
}

export function valueOf(head: RequestHead, number: number): string | undefined {
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
