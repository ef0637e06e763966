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
  return length < SMALL
    ? fold(sumWords(view, offset, offset + length) + initial)
    : sumLong(view, offset, length, initial)
}

/** Less than 2^16 words: the sum is an integer of 32 bits all the way, which V8 adds without a detour. */
function sumWords(view: DataView, offset: number, end: number): number {
  let sum = 0
  let at = offset
  for (; at < end - 1; at += 2) sum += view.getUint16(at)
  return at < end ? sum + (view.getUint8(at) << 8) : sum
}

function sumLong(view: DataView, offset: number, length: number, initial: number): number {
  const end = offset + length
  let sum = initial
  let at = offset
  let bound = at + PRECISE
  for (; at <= end - 16; at += 16) {
    sum +=
      view.getUint32(at) + view.getUint32(at + 4) + view.getUint32(at + 8) + view.getUint32(at + 12)
    if (at >= bound) {
      sum = fold(sum)
      bound = at + PRECISE
    }
  }
  return fold(fold(sum) + sumWords(view, at, end))
}

/** Folds the carries of a sum below 2^53 into 16 bits. */
export function fold(sum: number): number {
  if (sum > 0xffff_ffff) sum = (sum % 0x1_0000_0000) + Math.floor(sum / 0x1_0000_0000)
  if (sum > 0xffff_ffff) sum -= 0xffff_ffff
  sum = (sum & 0xffff) + (sum >>> 16)
  sum = (sum & 0xffff) + (sum >>> 16)
  return (sum & 0xffff) + (sum >>> 16)
}
