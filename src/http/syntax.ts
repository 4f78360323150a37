/**
 * The grammar of RFC 9110 §5.6 and RFC 9112 as tables over bytes, and nothing looser: what a parser
 * behind us might read differently is not passed on.
 */

export const HTAB = 0x09
export const LF = 0x0a
export const CR = 0x0d
export const SP = 0x20
export const ASTERISK = 0x2a
export const HYPHEN = 0x2d
export const SLASH = 0x2f
export const COLON = 0x3a
export const SEMICOLON = 0x3b

/** 1 where the byte is a tchar (RFC 9110 §5.6.2). */
export const TOKEN: Uint8Array = table((byte) => /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(char(byte)))

/**
 * What a tchar counts as in the name of a field, 0 for any other byte. Case is folded (§5.1), and
 * "_" is "-": CGI and its heirs make both the same variable, so "Content_Length" means something to
 * many a server, and a name that is guarded must be guarded in that spelling too.
 */
export const NAME: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (TOKEN[byte] === 0) return 0
  return char(byte) === "_" ? HYPHEN : char(byte).toLowerCase().charCodeAt(0)
})

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

function table(accepts: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (accepts(byte) ? 1 : 0))
}

function char(byte: number): string {
  return String.fromCharCode(byte)
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
