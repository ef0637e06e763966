/** A body that is read as a whole, because it is inspected. */

import type { Block } from '@netkit/core'
import type { BodyFraming } from '@netkit/core/http'
import type { BodySink } from '../transport/message-reader.ts'

/** Gathers a body up to a limit; beyond it the rest is dropped and `tooLarge` set. */
export class CollectedBody implements BodySink {
  readonly queued = 0
  tooLarge = false
  readonly #limit: number
  readonly #parts: Uint8Array[] = []
  #length = 0

  constructor(limitBytes: number) {
    this.#limit = limitBytes
  }

  write(block: Block, offset: number, length: number): void {
    if (this.#length + length > this.#limit) {
      this.tooLarge = true
      this.#parts.length = 0
    } else this.#parts.push(block.bytes.slice(offset, offset + length))
    this.#length += length
    block.unpin()
  }

  /** The bytes as they came, chunk framing included. */
  raw(): Uint8Array {
    const all = new Uint8Array(this.tooLarge ? 0 : this.#length)
    let at = 0
    for (const part of this.#parts) {
      all.set(part, at)
      at += part.length
    }
    return all
  }

  /** The content. */
  content(framing: BodyFraming): Uint8Array {
    return framing.kind === 'chunked' ? withoutChunks(this.raw()) : this.raw()
  }
}

/** The content of a chunked body (RFC 9112 7.1) that a `BodyScanner` has found complete. */
function withoutChunks(bytes: Uint8Array): Uint8Array {
  const content = new Uint8Array(bytes.length)
  let length = 0
  let at = 0
  for (;;) {
    const lineEnd = bytes.indexOf(10, at)
    const size = Number.parseInt(String.fromCharCode(...bytes.subarray(at, lineEnd)), 16)
    if (lineEnd < 0 || !(size > 0)) return content.slice(0, length)
    content.set(bytes.subarray(lineEnd + 1, lineEnd + 1 + size), length)
    length += size
    at = lineEnd + 1 + size + 2
  }
}
