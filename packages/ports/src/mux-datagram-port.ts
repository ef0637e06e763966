/** Datagrams over a sub-connection of the forwarder multiplexer: each is framed in the channel's bytes. */

import { Block, socketError } from '@netkit/core'
import type { DatagramFailure, DatagramPort, IpEndpoint } from '@netkit/core'
import { muxDatagramHeaderBytes, readMuxDatagram, writeMuxDatagram } from './mux-frame.ts'
import type { MuxStream } from './mux-stream.ts'

/** Bytes that may wait for the channel's window; what comes then is dropped, as in a full socket buffer (Linux: 208 KiB). */
const QUEUE_BYTES = 212_992
const MAX_PAYLOAD_BYTES = 65_507

/** A datagram port over the multiplexer; always connected. */
export class MuxDatagramPort implements DatagramPort {
  readonly local: IpEndpoint
  readonly connected: IpEndpoint
  readonly #stream: MuxStream
  #message: ((bytes: Uint8Array, from: IpEndpoint) => void) | undefined
  #error: ((failure: DatagramFailure) => void) | undefined
  // A datagram whose end has not arrived yet: vpnkit sends length, header and payload as three frames.
  #partial: Uint8Array = new Uint8Array(0)

  constructor(stream: MuxStream, local: IpEndpoint, connected: IpEndpoint) {
    this.#stream = stream
    this.local = local
    this.connected = connected
    stream.read({
      room: () => undefined,
      filled: () => undefined,
      take: (block, offset, length) => {
        this.#receive(block.bytes.subarray(offset, offset + length))
        return length
      },
      end: () => stream.end(),
    })
    void stream.closed.then(({ kind, error }) => {
      if (kind !== 'fin' && error !== undefined) this.#error?.({ error, to: connected })
      return undefined
    })
  }

  get queued(): number {
    return this.#stream.queued
  }

  onMessage(run: ((bytes: Uint8Array, from: IpEndpoint) => void) | undefined): void {
    this.#message = run
  }

  onError(run: ((failure: DatagramFailure) => void) | undefined): void {
    this.#error = run
  }

  send(block: Block, offset: number, length: number, to: IpEndpoint = this.connected): void {
    const code =
      length > MAX_PAYLOAD_BYTES
        ? 'EMSGSIZE'
        : this.#stream.queued + length > QUEUE_BYTES
          ? 'ENOBUFS'
          : undefined
    if (code === undefined) {
      const framed = new Block(new Uint8Array(muxDatagramHeaderBytes(to.ip) + length))
      const head = writeMuxDatagram(framed.bytes, framed.view, to, length)
      framed.bytes.set(block.bytes.subarray(offset, offset + length), head)
      this.#stream.write(framed, 0, framed.length)
    } else {
      const error = socketError(code, { syscall: 'send', address: to.ip, port: to.port })
      // Never from within send().
      queueMicrotask(() => this.#error?.({ error, to }))
    }
    block.unpin()
  }

  async close(): Promise<void> {
    this.#message = undefined
    this.#error = undefined
    this.#stream.reset()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #receive(bytes: Uint8Array): void {
    let rest = bytes
    if (this.#partial.length > 0) {
      rest = new Uint8Array(this.#partial.length + bytes.length)
      rest.set(this.#partial)
      rest.set(bytes, this.#partial.length)
    }
    for (;;) {
      const datagram = readMuxDatagram(rest)
      if (datagram === 'malformed') {
        // The framing is lost for good.
        this.#stream.reset()
        return
      }
      if (datagram === undefined) break
      const { offset, length, size, peer } = datagram
      this.#message?.(rest.subarray(offset, offset + length), peer ?? this.connected)
      rest = rest.subarray(size)
    }
    this.#partial = rest.slice()
  }
}
