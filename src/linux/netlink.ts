/**
 * The netlink wire format (RFC 3549 §2.3.2, linux/netlink.h): messages made of a header, a fixed
 * family header and attributes (type, length, value, padded to four bytes). Pure.
 *
 *     0                   1                   2                   3
 *    +-------------------------------------------------------------+
 *    |                            Length                           |
 *    +------------------------------+------------------------------+
 *    |            Type              |           Flags              |
 *    +------------------------------+------------------------------+
 *    |                      Sequence Number                        |
 *    +-------------------------------------------------------------+
 *    |                      Process ID (PID)                       |
 *    +-------------------------------------------------------------+
 */
import { LITTLE_ENDIAN, NLATTR, NLMSGHDR } from "./layouts.ts"

export const NLM_F_REQUEST = 0x001
export const NLM_F_ACK = 0x004
/** The dump was not a snapshot: something changed while it ran. */
export const NLM_F_DUMP_INTR = 0x010
export const NLM_F_ROOT = 0x100
export const NLM_F_MATCH = 0x200
export const NLM_F_DUMP = NLM_F_ROOT | NLM_F_MATCH
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
/** In an acknowledgement: the request is not echoed beyond its header. */
export const NLM_F_CAPPED = 0x100
/** In an acknowledgement: attributes with an explanation follow. */
export const NLM_F_ACK_TLVS = 0x200

export const NLMSG_NOOP = 1
export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3
export const NLMSG_OVERRUN = 4

const NLMSGERR_ATTR_MSG = 1
const NLA_F_NESTED = 0x8000
/** NLA_F_NESTED and NLA_F_NET_BYTEORDER are marks, not part of the type. */
const NLA_TYPE_MASK = 0x3fff

export interface NetlinkMessage {
  readonly type: number
  readonly flags: number
  readonly sequence: number
  /** The kernel is 0. */
  readonly portId: number
  /** Everything after the header: the family header and its attributes. */
  readonly body: Uint8Array
}

export type NetlinkMalformation =
  | "message header cut short"
  | "message longer than the datagram"
  | "family header cut short"
  | "attribute longer than its message"
  | "attribute of the wrong size"

export type Parsed<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly reason: NetlinkMalformation }

/** An attribute to write: its type and the value's bytes (see `u32Value` and its siblings). */
export type Attribute = readonly [type: number, value: Uint8Array]

export type AttributeMap = ReadonlyMap<number, Uint8Array>

export function encodeMessage(message: NetlinkMessage): Uint8Array {
  const bytes = new Uint8Array(NLMSGHDR.size + message.body.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(NLMSGHDR.length, bytes.length, LITTLE_ENDIAN)
  view.setUint16(NLMSGHDR.type, message.type, LITTLE_ENDIAN)
  view.setUint16(NLMSGHDR.flags, message.flags, LITTLE_ENDIAN)
  view.setUint32(NLMSGHDR.sequence, message.sequence, LITTLE_ENDIAN)
  view.setUint32(NLMSGHDR.portId, message.portId, LITTLE_ENDIAN)
  bytes.set(message.body, NLMSGHDR.size)
  return bytes
}

/** Encoded messages one behind the other, each on a boundary of four bytes. */
export function encodeDatagram(messages: readonly Uint8Array[]): Uint8Array {
  const total = messages.reduce((sum, { length }) => sum + aligned(length), 0)
  const bytes = new Uint8Array(total)
  let offset = 0
  for (const message of messages) {
    bytes.set(message, offset)
    offset += aligned(message.length)
  }
  return bytes
}

/** The messages of one datagram. Bodies are views into it. */
export function parseMessages(datagram: Uint8Array): Parsed<NetlinkMessage[]> {
  const view = viewOf(datagram)
  const messages: NetlinkMessage[] = []
  for (let start = 0; start < datagram.length; ) {
    if (datagram.length - start < NLMSGHDR.size) return malformed("message header cut short")
    const length = view.getUint32(start + NLMSGHDR.length, LITTLE_ENDIAN)
    if (length < NLMSGHDR.size) return malformed("message header cut short")
    if (start + length > datagram.length) return malformed("message longer than the datagram")
    messages.push({
      type: view.getUint16(start + NLMSGHDR.type, LITTLE_ENDIAN),
      flags: view.getUint16(start + NLMSGHDR.flags, LITTLE_ENDIAN),
      sequence: view.getUint32(start + NLMSGHDR.sequence, LITTLE_ENDIAN),
      portId: view.getUint32(start + NLMSGHDR.portId, LITTLE_ENDIAN),
      body: datagram.subarray(start + NLMSGHDR.size, start + length),
    })
    start += aligned(length)
  }
  return { ok: true, value: messages }
}

/** A family header followed by attributes. */
export function encodeBody(header: Uint8Array, attributes: readonly Attribute[]): Uint8Array {
  const encoded = encodeAttributes(attributes)
  const body = new Uint8Array(aligned(header.length) + encoded.length)
  body.set(header)
  body.set(encoded, aligned(header.length))
  return body
}

export function encodeAttributes(attributes: readonly Attribute[]): Uint8Array {
  const total = attributes.reduce((sum, [, value]) => sum + aligned(NLATTR.size + value.length), 0)
  const bytes = new Uint8Array(total)
  const view = new DataView(bytes.buffer)
  let offset = 0
  for (const [type, value] of attributes) {
    view.setUint16(offset + NLATTR.length, NLATTR.size + value.length, LITTLE_ENDIAN)
    view.setUint16(offset + NLATTR.type, type, LITTLE_ENDIAN)
    bytes.set(value, offset + NLATTR.size)
    offset += aligned(NLATTR.size + value.length)
  }
  return bytes
}

/** Attributes by type, the last of a kind winning as in the kernel. Values are views. */
export function parseAttributes(bytes: Uint8Array): Parsed<AttributeMap> {
  const attributes = new Map<number, Uint8Array>()
  const reason = eachAttribute(bytes, (type, value) => attributes.set(type, value))
  return reason === undefined ? { ok: true, value: attributes } : malformed(reason)
}

function eachAttribute(
  bytes: Uint8Array,
  take: (type: number, value: Uint8Array) => void,
): NetlinkMalformation | undefined {
  const view = viewOf(bytes)
  for (let start = 0; bytes.length - start >= NLATTR.size; ) {
    const length = view.getUint16(start + NLATTR.length, LITTLE_ENDIAN)
    const type = view.getUint16(start + NLATTR.type, LITTLE_ENDIAN) & NLA_TYPE_MASK
    if (length < NLATTR.size) return "attribute of the wrong size"
    if (start + length > bytes.length) return "attribute longer than its message"
    take(type, bytes.subarray(start + NLATTR.size, start + length))
    start += aligned(length)
  }
  return undefined
}

/** The attributes after a family header of `headerBytes`. */
export function parseBody(body: Uint8Array, headerBytes: number): Parsed<AttributeMap> {
  if (body.length < headerBytes) return malformed("family header cut short")
  return parseAttributes(body.subarray(Math.min(aligned(headerBytes), body.length)))
}

export interface Acknowledgement {
  /** 0 is success; otherwise a positive errno. */
  readonly errno: number
  /** The kernel's extended acknowledgement, such as "Invalid prefsrc address"; often empty. */
  readonly text: string
}

/** The body of NLMSG_ERROR, which is also how success is acknowledged. */
export function parseAcknowledgement(message: NetlinkMessage): Parsed<Acknowledgement> {
  const { body, flags } = message
  if (body.length < 4 + NLMSGHDR.size) return malformed("family header cut short")
  const view = viewOf(body)
  const errno = 0 - view.getInt32(0, LITTLE_ENDIAN)
  if ((flags & NLM_F_ACK_TLVS) === 0) return { ok: true, value: { errno, text: "" } }
  const echoed = view.getUint32(4 + NLMSGHDR.length, LITTLE_ENDIAN)
  const skipped = 4 + ((flags & NLM_F_CAPPED) === 0 ? aligned(echoed) : NLMSGHDR.size)
  if (skipped > body.length) return malformed("attribute longer than its message")
  const attributes = parseAttributes(body.subarray(skipped))
  if (!attributes.ok) return attributes
  return { ok: true, value: { errno, text: textOf(attributes.value, NLMSGERR_ATTR_MSG) ?? "" } }
}

/** The body of NLMSG_DONE: how a dump ended. */
export function parseDone(message: NetlinkMessage): Parsed<Acknowledgement> {
  if (message.body.length < 4) return malformed("family header cut short")
  const errno = 0 - viewOf(message.body).getInt32(0, LITTLE_ENDIAN)
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return { ok: true, value: { errno, text: "" } }
  const attributes = parseAttributes(message.body.subarray(4))
  if (!attributes.ok) return attributes
  return { ok: true, value: { errno, text: textOf(attributes.value, NLMSGERR_ATTR_MSG) ?? "" } }
}

export function u8Value(value: number): Uint8Array {
  return Uint8Array.of(value)
}

export function u32Value(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, LITTLE_ENDIAN)
  return bytes
}

/** NUL-terminated, as the kernel's NLA_NUL_STRING wants it. */
export function textValue(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(`${text}\0`, "utf8"))
}

/** An attribute that holds attributes. */
export function nested(type: number, attributes: readonly Attribute[]): Attribute {
  return [type | NLA_F_NESTED, encodeAttributes(attributes)]
}

/** Undefined when the attribute is absent or has another size. */
export function u8Of(attributes: AttributeMap, type: number): number | undefined {
  const value = attributes.get(type)
  return value?.length === 1 ? value[0] : undefined
}

export function u32Of(attributes: AttributeMap, type: number): number | undefined {
  const value = attributes.get(type)
  return value?.length === 4 ? viewOf(value).getUint32(0, LITTLE_ENDIAN) : undefined
}

/** Text up to its NUL. */
export function textOf(attributes: AttributeMap, type: number): string | undefined {
  const value = attributes.get(type)
  if (value === undefined) return undefined
  const end = value.indexOf(0)
  return Buffer.from(end < 0 ? value : value.subarray(0, end)).toString("utf8")
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export function malformed(reason: NetlinkMalformation): {
  readonly ok: false
  readonly reason: NetlinkMalformation
} {
  return { ok: false, reason }
}

function aligned(length: number): number {
  return (length + 3) & ~3
}
