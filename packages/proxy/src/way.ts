/** An open way to a target: the stream, the hop it goes by, and its ends for messages, which outlive a request. */

import type { ByteStream } from '@netkit/core'
import type { Hop } from './decision.ts'
import { BODY_QUEUE_BYTES } from './limits.ts'
import { StreamReader, StreamWriter } from './stream-reader.ts'

/** See the head of this file. */
export class Way {
  readonly stream: ByteStream
  readonly hop: Hop
  /** Requests that it has carried: whoever takes it again may find that it was closed meanwhile. */
  requests = 0
  #reader: StreamReader | undefined
  #writer: StreamWriter | undefined

  constructor(stream: ByteStream, hop: Hop) {
    this.stream = stream
    this.hop = hop
  }

  get reader(): StreamReader {
    this.#reader ??= new StreamReader(this.stream)
    return this.#reader
  }

  get writer(): StreamWriter {
    this.#writer ??= new StreamWriter(this.stream, BODY_QUEUE_BYTES)
    return this.#writer
  }

  /** The stream for a splice, with what was read too far back in it. */
  release(): ByteStream {
    this.#writer?.release()
    return this.#reader?.release() ?? this.stream
  }
}
