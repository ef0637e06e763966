/**
 * Gathers a head from a stream, however it is cut.
 *
 * ```
 *   push("GET / HT") ─▶ undefined     push("TP/1.1\r\n\r\nbody…") ─▶ head; consumed says where the body starts
 * ```
 */

import { HEAD_BYTES, LEADING_EMPTY_LINES } from '../limits.ts'
import type { HttpFault } from './fault.ts'

const CR = 13
const LF = 10

/** Reads one head after the other. */
export class HeadReader<Head> {
  readonly #parse: (bytes: Uint8Array) => Head | HttpFault
  #buffer = new Uint8Array(1024)
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
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at] ?? 0
      if (this.#length === HEAD_BYTES) return this.#end(at, 'head-too-long')
      this.#append(byte)
      // Every LF must follow a CR, and every CR must be followed by LF.
      const expected = this.#matched % 2 === 0 ? CR : LF
      if (byte === expected) this.#matched++
      else if (byte === LF) return this.#end(at + 1, 'bare-line-feed')
      else if (this.#matched % 2 === 1) return this.#end(at + 1, 'bare-carriage-return')
      else this.#matched = 0
      if (this.#matched === 2 && this.#length === 2) {
        if (++this.#emptyLines > LEADING_EMPTY_LINES) return this.#end(at + 1, 'bad-request-line')
        this.#length = 0
        this.#matched = 0
      }
      if (this.#matched === 4)
        return this.#end(at + 1, this.#parse(this.#buffer.slice(0, this.#length)))
    }
    this.#consumed = bytes.length
    return undefined
  }

  #append(byte: number): void {
    if (this.#length === this.#buffer.length) {
      const larger = new Uint8Array(Math.min(this.#buffer.length * 4, HEAD_BYTES))
      larger.set(this.#buffer)
      this.#buffer = larger
    }
    this.#buffer[this.#length++] = byte
  }

  #end(consumed: number, result: Head | HttpFault): Head | HttpFault {
    this.#consumed = consumed
    this.#length = 0
    this.#matched = 0
    this.#emptyLines = 0
    return result
  }
}
