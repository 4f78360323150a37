/**
 * The grammar of RFC 9110 §5.6 and RFC 9112 as tables over bytes, and nothing looser: what a parser
 * behind us might read differently is not passed on.
 */

/** 1 where the byte is a tchar (RFC 9110 §5.6.2). */
export const TOKEN: Uint8Array = table((byte) => /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(char(byte)))

/** 1 where the byte may stand in a field value: HTAB, SP, VCHAR, obs-text (RFC 9110 §5.5). */
export const FIELD_VALUE: Uint8Array = table((byte) => {
  return byte === 0x09 || (byte >= 0x20 && byte !== 0x7f)
})

/** 1 where the byte may stand in a request target: VCHAR without "#" (RFC 3986; no fragment). */
export const TARGET: Uint8Array = table((byte) => byte > 0x20 && byte < 0x7f && char(byte) !== "#")

/** Value of a hexadecimal digit, 255 for any other byte. */
export const HEX: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => {
  return /[0-9A-Fa-f]/.test(char(byte)) ? Number.parseInt(char(byte), 16) : 255
})

export const HTAB = 0x09
export const LF = 0x0a
export const CR = 0x0d
export const SP = 0x20
export const COMMA = 0x2c
export const SLASH = 0x2f
export const COLON = 0x3a
export const SEMICOLON = 0x3b

function table(accepts: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (accepts(byte) ? 1 : 0))
}

function char(byte: number): string {
  return String.fromCharCode(byte)
}

/** Whether all bytes in the range are of the class. */
export function allOf(
  accepted: Uint8Array,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  for (let at = start; at < end; at++) if (accepted[bytes[at] as number] === 0) return false
  return true
}

/** Latin-1 text of a range: what a field value is before anyone gives it a meaning. */
export function textOf(bytes: Uint8Array, start: number, end: number): string {
  let text = ""
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at] as number)
  return text
}

/** Whether the range is `text`, which must be lower case, in any case (RFC 9110 §5.1). */
export function equalsIgnoringCase(
  text: string,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  if (end - start !== text.length) return false
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number
    const lower = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte
    if (lower !== text.charCodeAt(at - start)) return false
  }
  return true
}
