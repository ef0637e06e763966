/** The content of a chunked body, for clients of HTTP/1.0, which know no chunks. The framing is checked by a `BodyScanner` before. */

/** Decodes one well-formed body, however it is cut. */
export class ChunkDecoder {
  #line = ''
  #left = 0
  #afterData = false
  #done = false

  /** The content in `bytes`. */
  decode(bytes: Uint8Array): Uint8Array {
    const out = new Uint8Array(bytes.length)
    let length = 0
    let at = 0
    while (at < bytes.length && !this.#done) {
      if (this.#left > 0) {
        const part = bytes.subarray(at, at + this.#left)
        out.set(part, length)
        length += part.length
        at += part.length
        this.#left -= part.length
        this.#afterData = this.#left === 0
        continue
      }
      const byte = bytes[at++] ?? 0
      if (byte !== 10) {
        if (byte !== 13) this.#line += String.fromCharCode(byte)
      } else if (this.#afterData) this.#afterData = false
      else {
        this.#left = Number.parseInt(this.#line, 16)
        this.#line = ''
        this.#done = this.#left === 0
      }
    }
    return out.subarray(0, length)
  }
}
