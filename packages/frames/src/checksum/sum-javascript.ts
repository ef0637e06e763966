/** The Internet sum (RFC 1071) in plain JavaScript: the fallback, and the faster way for a header's few bytes. */

/** Below this many `bytes` 16-bit reads with integer arithmetic win over 32-bit reads summed as doubles. */
const SMALL = 64
/** 2^53 / 2^32 words may be summed as doubles before the sum loses precision; `bytes`. */
const PRECISE = 4 * 2 ** 20

/**
 * The one's complement sum of big-endian 16-bit words, folded to 16 bits. An odd last byte is the high half of a word.
 *
 * @param initial - A sum to go on from, `0 … 2^32-1`.
 * @returns `0 … 0xffff`; 0 only if everything is zero.
 */
export function sumJavascript(
  view: DataView,
  offset: number,
  length: number,
  initial: number,
): number {
  const end = offset + length
  let sum = initial
  let at = offset
  if (length >= SMALL) {
    const words = end - 16
    let bound = at + PRECISE
    while (at <= words) {
      sum +=
        view.getUint32(at) +
        view.getUint32(at + 4) +
        view.getUint32(at + 8) +
        view.getUint32(at + 12)
      at += 16
      if (at >= bound) {
        sum = fold(sum)
        bound = at + PRECISE
      }
    }
    sum = fold(sum)
  }
  // At most SMALL bytes are left: the sum stays below 2^33 and exact.
  for (; at < end - 1; at += 2) sum += view.getUint16(at)
  if (at < end) sum += view.getUint8(at) << 8
  return fold(sum)
}

/** Folds the carries of a sum below 2^53 into 16 bits. */
export function fold(sum: number): number {
  if (sum > 0xffff_ffff) sum = (sum % 0x1_0000_0000) + Math.floor(sum / 0x1_0000_0000)
  if (sum > 0xffff_ffff) sum -= 0xffff_ffff
  sum = (sum & 0xffff) + (sum >>> 16)
  sum = (sum & 0xffff) + (sum >>> 16)
  return (sum & 0xffff) + (sum >>> 16)
}
