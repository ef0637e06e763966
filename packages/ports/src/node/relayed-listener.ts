/** Connections that the privileged helper accepted and carries to a unix socket of ours, each announced by a PROXY header. */

import { Block } from '@netkit/core'
import type {
  Acceptor,
  ByteStream,
  CloseReason,
  Endpoint,
  Listening,
  ListenOptions,
  ReadTarget,
} from '@netkit/core'
import { decodeProxyHeader } from '../proxy-protocol.ts'
import type { ProxyHeader } from '../proxy-protocol.ts'

/** Longest header the helper sends: version 2 with IPv6 addresses. */
const HEADER_ROOM_BYTES = 128

/** Listens at `path` for relayed connections and hands them on with the addresses of their header. */
export async function listenRelayed(
  host: Acceptor,
  path: string,
  accept: (stream: ByteStream) => void,
  options?: ListenOptions,
): Promise<Listening> {
  return await host.listen({ path }, (stream) => readHeader(stream, accept), options)
}

function readHeader(stream: ByteStream, accept: (stream: ByteStream) => void): void {
  const block = new Block(new Uint8Array(HEADER_ROOM_BYTES))
  let length = 0
  let done = false
  const target: ReadTarget = {
    room: () =>
      done || length === HEADER_ROOM_BYTES
        ? undefined
        : { block, offset: length, length: HEADER_ROOM_BYTES - length },
    filled(bytes) {
      length += bytes
      const result = decodeProxyHeader(block.bytes.subarray(0, length))
      if (result.kind === 'more' && length < HEADER_ROOM_BYTES) return
      done = true
      if (result.kind !== 'header') {
        stream.reset()
        return
      }
      stream.unread(block.bytes.slice(result.length, length))
      accept(new RelayedStream(stream, result.header))
    },
    end: () => stream.reset(),
  }
  stream.read(target)
}

/** A stream with the ends that its header told. */
class RelayedStream implements ByteStream {
  readonly local: Endpoint | undefined
  readonly remote: Endpoint | undefined
  readonly closed: Promise<CloseReason>
  readonly #stream: ByteStream

  constructor(stream: ByteStream, header: ProxyHeader) {
    this.#stream = stream
    this.closed = stream.closed
    this.local = header.destination
    this.remote = header.source
  }

  get queued(): number {
    return this.#stream.queued
  }

  read(into: ReadTarget): void {
    this.#stream.read(into)
  }

  unread(bytes: Uint8Array): void {
    this.#stream.unread(bytes)
  }

  write(block: Block, offset: number, length: number): void {
    this.#stream.write(block, offset, length)
  }

  cork(): void {
    this.#stream.cork()
  }

  uncork(): void {
    this.#stream.uncork()
  }

  onDrain(run: (() => void) | undefined): void {
    this.#stream.onDrain(run)
  }

  end(): void {
    this.#stream.end()
  }

  reset(): void {
    this.#stream.reset()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stream[Symbol.asyncDispose]()
  }
}
