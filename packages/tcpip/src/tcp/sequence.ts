/**
 * Sequence numbers.
 *
 * On the wire they are 32 bits and wrap (RFC 9293 3.4). Inside, a byte's place in its stream is a `position`: 0 is the SYN,
 * 1 the first byte of data, the FIN comes after the last one. Positions are plain numbers that never wrap (2^53 bytes is 285 years
 * at 1 MB/ms), so that every comparison in this directory is an ordinary `<`. These two functions are the only place that
 * knows of the wrap.
 */

/** The wire's number for a position in the stream that began with `initial`. */
export function toWire(initial: number, position: number): number {
  return (initial + position) >>> 0
}

/**
 * The position that the wire's `number` means, being within 2 GiB of position `near`; negative where it lies before the SYN.
 */
export function toPosition(number: number, initial: number, near: number): number {
  return near + ((number - toWire(initial, near)) | 0)
}

/** `a` is before `b` in the sense of RFC 7323 5.2: for timestamps, which wrap too. */
export function isBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0
}
