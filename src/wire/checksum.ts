/**
 * The Internet checksum (RFC 1071): the one's complement of the one's complement sum of 16-bit
 * words. A message that carries its own correct checksum sums to 0.
 */

/** Checksum over the parts laid end to end; each part but the last has an even length. */
export function internetChecksum(...parts: readonly Uint8Array[]): number {
  let sum = 0
  for (const part of parts) sum += sumOfWords(part)
  // Folding twice is enough below 2^32, which is 64 KiB of data: no IP packet is longer.
  sum = (sum & 0xffff) + (sum >>> 16)
  sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/** An odd last byte counts as the high half of a word (RFC 1071 §1). */
function sumOfWords(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const even = bytes.length & ~1
  let sum = 0
  for (let at = 0; at < even; at += 2) sum += view.getUint16(at)
  return even === bytes.length ? sum : sum + (view.getUint8(even) << 8)
}
