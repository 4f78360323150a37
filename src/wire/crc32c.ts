/**
 * CRC-32C (Castagnoli), as RFC 3720 Appendix B.4 has it for iSCSI, and the PROXY protocol after it.
 */

/** Reflected form of the polynomial 0x1edc6f41. */
const POLYNOMIAL = 0x82f63b78

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ ((value & 1) * POLYNOMIAL)
  return value
})

/** Over the parts laid end to end; 32 bits, unsigned. */
export function crc32c(...parts: readonly Uint8Array[]): number {
  let sum = 0xffffffff
  for (const part of parts) {
    for (const byte of part) sum = (sum >>> 8) ^ (TABLE[(sum ^ byte) & 0xff] as number)
  }
  return ~sum >>> 0
}
