/**
 * Finds where a body ends without touching its bytes: the proxy forwards them as they came and must know only when the next head
 * begins (RFC 9112 6 and 7).
 */

import { CHUNK_LINE_BYTES, TRAILER_BYTES } from '../limits.ts'
import type { HttpFault } from './fault.ts'
import type { BodyFraming } from './head.ts'

const CR = 13
const LF = 10
const SEMICOLON = 59

/** Where the scanner of a chunked body is. */
type ChunkState =
  'size' | 'extension' | 'size-lf' | 'data' | 'data-cr' | 'data-lf' | 'trailer' | 'trailer-lf'

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const letter = byte | 32
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}

/** Scans one body. */
export class BodyScanner {
  readonly #framing: BodyFraming['kind']
  /** Bytes left: of the body, or of the current chunk. */
  #left: number
  #state: ChunkState = 'size'
  #lineBytes = 0
  #digits = 0
  #trailerBytes = 0
  #done: boolean

  constructor(framing: BodyFraming) {
    this.#framing = framing.kind
    this.#left = framing.kind === 'length' ? framing.length : 0
    this.#done = framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0)
  }

  /** Whether the body is complete. Never true of one that ends with its connection. */
  get done(): boolean {
    return this.#done
  }

  /** How many of `length` bytes from `offset` belong to the body, or why it is broken. */
  scan(bytes: Uint8Array, offset: number, length: number): number | HttpFault {
    if (this.#done) return 0
    if (this.#framing === 'close') return length
    if (this.#framing === 'chunked') return this.#scanChunks(bytes, offset, length)
    const taken = Math.min(this.#left, length)
    this.#left -= taken
    this.#done = this.#left === 0
    return taken
  }

  #scanChunks(bytes: Uint8Array, offset: number, length: number): number | HttpFault {
    let at = 0
    while (at < length && !this.#done) {
      if (this.#state === 'data') {
        const step = Math.min(this.#left, length - at)
        this.#left -= step
        at += step
        if (this.#left === 0) this.#state = 'data-cr'
        continue
      }
      const fault = this.#step(bytes[offset + at] ?? 0)
      if (fault !== undefined) return fault
      at++
    }
    return at
  }

  #step(byte: number): HttpFault | undefined {
    switch (this.#state) {
      case 'size': {
        const digit = hexDigit(byte)
        if (digit >= 0) {
          // 13 hexadecimal digits are 52 bits: exact in a double.
          if (++this.#digits > 13) return 'bad-chunk'
          this.#left = this.#left * 16 + digit
          return undefined
        }
        if (this.#digits === 0) return 'bad-chunk'
        if (byte === CR) this.#state = 'size-lf'
        else if (byte === SEMICOLON) this.#state = 'extension'
        else return 'bad-chunk'
        return undefined
      }
      case 'extension':
        if (++this.#lineBytes > CHUNK_LINE_BYTES || byte === LF) return 'bad-chunk'
        if (byte === CR) this.#state = 'size-lf'
        return undefined
      case 'size-lf':
        if (byte !== LF) return 'bad-chunk'
        this.#state = this.#left === 0 ? 'trailer' : 'data'
        this.#lineBytes = 0
        this.#digits = 0
        return undefined
      case 'data-cr':
        if (byte !== CR) return 'bad-chunk'
        this.#state = 'data-lf'
        return undefined
      case 'data-lf':
        if (byte !== LF) return 'bad-chunk'
        this.#state = 'size'
        return undefined
      case 'trailer':
        if (++this.#trailerBytes > TRAILER_BYTES) return 'trailers-too-long'
        if (byte === LF) return 'bare-line-feed'
        if (byte === CR) this.#state = 'trailer-lf'
        else this.#lineBytes++
        return undefined
      case 'trailer-lf':
        if (byte !== LF) return 'bare-carriage-return'
        // An empty line ends the trailers, and with them the body.
        if (this.#lineBytes === 0) this.#done = true
        this.#lineBytes = 0
        this.#state = 'trailer'
        return undefined
      case 'data':
        break
    }
    return undefined
  }
}
