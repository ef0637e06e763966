/**
 * Gathers a head from a stream, however it is cut.
 *
 * ```
 *   push("GET / HT") ─▶ undefined     push("TP/1.1\r\n\r\nbody…") ─▶ head; consumed says where the body starts
 * ```
 */

import { HEAD_BYTES, LEADING_EMPTY_LINES } from '../limits.ts'
import type { HttpFault } from './fault.ts'

const NONE: Uint8Array<ArrayBuffer> = new Uint8Array(0)
const CR = 13
const LF = 10

/** Reads one head after the other. */
export class HeadReader<Head> {
  readonly #parse: (bytes: Uint8Array) => Head | HttpFault
  /** What came of a head that is not complete yet. */
  #buffer = NONE
  #length = 0
  /** Bytes of CR LF CR LF seen at the end. */
  #matched = 0
  #emptyLines = 0
  #consumed = 0

  /** @param parse - `parseRequestHead` or `parseResponseHead`. */
  constructor(parse: (bytes: Uint8Array) => Head | HttpFault) {
    this.#parse = parse
  }

  /** Bytes of the last `push` that belong to the head; the rest is body. */
  get consumed(): number {
    return this.#consumed
  }

  /** Whether a head has begun and is not complete: an end of the stream now is a broken message. */
  get begun(): boolean {
    return this.#length > 0
  }

  /** Takes bytes; gives the head when it is complete, a fault when it can never be, `undefined` while more is needed. */
  push(bytes: Uint8Array): Head | HttpFault | undefined {
    // Where this head begins in `bytes`; what came before is in the buffer.
    let from = 0
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at] ?? 0
      if (this.#length + at - from === HEAD_BYTES) return this.#end(at, 'head-too-long')
      // Every LF must follow a CR, and every CR must be followed by LF.
      const expected = this.#matched % 2 === 0 ? CR : LF
      if (byte === expected) this.#matched++
      else if (byte === LF) return this.#end(at + 1, 'bare-line-feed')
      else if (this.#matched % 2 === 1) return this.#end(at + 1, 'bare-carriage-return')
      else this.#matched = 0
      if (this.#matched === 2 && this.#length + at + 1 - from === 2) {
        if (++this.#emptyLines > LEADING_EMPTY_LINES) return this.#end(at + 1, 'bad-request-line')
        this.#length = 0
        from = at + 1
        this.#matched = 0
      }
      if (this.#matched === 4)
        return this.#end(at + 1, this.#parse(this.#head(bytes, from, at + 1)))
    }
    this.#append(bytes.subarray(from))
    this.#consumed = bytes.length
    return undefined
  }

  #head(bytes: Uint8Array, from: number, to: number): Uint8Array {
    // A copy also where `bytes` is a Buffer, whose `slice` is a view: a head must not keep the memory that it was read into.
    if (this.#length === 0) return new Uint8Array(bytes.subarray(from, to))
    this.#append(bytes.subarray(from, to))
    return this.#buffer.slice(0, this.#length)
  }

  #append(bytes: Uint8Array): void {
    const length = this.#length + bytes.length
    if (length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(1024, 2 * length))
      larger.set(this.#buffer.subarray(0, this.#length))
      this.#buffer = larger
    }
    this.#buffer.set(bytes, this.#length)
    this.#length = length
  }

  #end(consumed: number, result: Head | HttpFault): Head | HttpFault {
    this.#consumed = consumed
    this.#length = 0
    this.#matched = 0
    this.#emptyLines = 0
    return result
  }
}
