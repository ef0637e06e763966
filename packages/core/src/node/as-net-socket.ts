/**
 * A `net.Socket` over any `ByteStream`, for code that knows nothing else: http, tls, http2, undici, database drivers.
 *
 * It is a true subclass without a native handle: `instanceof net.Socket` holds, and everything that would reach for the handle is
 * overridden. Reading pulls from the stream only while somebody reads the socket; a write is done when the stream has taken it and
 * little is queued. Bytes are copied once each way, since Node's users keep and reuse their buffers as they like.
 */

import { Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { ipFamily } from '../address.ts'
import { Block } from '../block.ts'
import type { ByteStream, CloseReason, ReadTarget, Room } from '../byte-stream.ts'
import { isIpEndpoint } from '../endpoint.ts'
import type { Endpoint } from '../endpoint.ts'
import { socketError } from '../errors.ts'
import { NET_SOCKET_QUEUE_BYTES, NET_SOCKET_READ_BYTES } from './limits.ts'

/** Options of `asNetSocket`. */
export interface NetSocketOptions {
  /** As in `net.connect`: `false` (the default) ends the socket when the peer does. */
  allowHalfOpen?: boolean
}

/**
 * The stream as a connected `net.Socket`. The stream belongs to the socket from now on.
 *
 * @example
 * ```ts
 * import { memoryStreamPair, readAll } from '@netkit/core'
 * import { asNetSocket } from '@netkit/core/node'
 *
 * const [a, b] = memoryStreamPair()
 * asNetSocket(a).end('hello')
 * console.assert(new TextDecoder().decode(await readAll(b)) === 'hello')
 * b.end()
 * ```
 */
export function asNetSocket(stream: ByteStream, options: NetSocketOptions = {}): Socket {
  return new StreamSocket(stream, options)
}

type Callback = (error?: Error | null) => void

class StreamSocket extends Socket {
  readonly #stream: ByteStream
  readonly #room: Room
  #wantsMore = false
  #bytesRead = 0
  #bytesWritten = 0
  // The write that waits for the stream to drain.
  #pending: Callback | undefined
  #finalCallback: Callback | undefined
  #isClosed = false

  constructor(stream: ByteStream, options: NetSocketOptions) {
    super({ allowHalfOpen: options.allowHalfOpen ?? false })
    this.#stream = stream
    const block = new Block(new Uint8Array(NET_SOCKET_READ_BYTES))
    this.#room = { block, offset: 0, length: block.length }
    this.#showEnds()
    stream.onDrain(() => this.#drained())
    void stream.closed.then(this.#streamClosed)
    // TLSSocket and others wait for 'connect' of a socket without a handle, which was connected all along.
    this.on('newListener', (event: string, listener: () => void) => {
      if (event === 'connect' || event === 'ready') process.nextTick(() => listener.call(this))
    })
  }

  readonly #target: ReadTarget = {
    room: () => (this.#wantsMore ? this.#room : undefined),
    filled: (length) => {
      this.#bytesRead += length
      this.#active()
      this.#wantsMore = this.push(Buffer.from(this.#room.block.bytes.subarray(0, length)))
    },
    end: () => {
      this.push(null)
    },
  }

  // What Duplex calls.

  override _read(): void {
    this.#wantsMore = true
    this.#stream.read(this.#target)
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: Callback): void {
    this.#queue(chunk, encoding)
    this.#whenDrained(callback)
  }

  override _writev(
    chunks: { chunk: Buffer | string; encoding: BufferEncoding }[],
    callback: Callback,
  ): void {
    this.#stream.cork()
    for (const { chunk, encoding } of chunks) this.#queue(chunk, encoding)
    this.#stream.uncork()
    this.#whenDrained(callback)
  }

  override _final(callback: Callback): void {
    this.#stream.end()
    this.#finalCallback = callback
    this.#drained()
  }

  override _destroy(error: Error | null, callback: Callback): void {
    const isOrderly = error === null && this.readableEnded && this.writableFinished
    if (!isOrderly && !this.#isClosed) this.#stream.reset()
    // oxlint-disable-next-line no-underscore-dangle -- the name is Node's
    super._destroy(error, callback)
  }

  // What users of sockets call.

  override resetAndDestroy(): this {
    this.#stream.reset()
    return this.destroy()
  }

  override connect(): this {
    throw socketError('EINVAL', { syscall: 'connect', reason: 'the socket is connected already' })
  }

  override address(): AddressInfo | object {
    const { localAddress: address, localPort: port, localFamily: family } = this
    return address === undefined ? {} : { address, port, family }
  }

  // There is no handle that could keep the process alive; the network below has its own.
  override ref(): this {
    return this
  }

  override unref(): this {
    return this
  }

  override setNoDelay(): this {
    return this
  }

  override setKeepAlive(): this {
    return this
  }

  #queue(chunk: Buffer | string, encoding: BufferEncoding): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Uint8Array.from(chunk)
    this.#bytesWritten += bytes.length
    this.#active()
    this.#stream.write(new Block(bytes), 0, bytes.length)
  }

  #whenDrained(callback: Callback): void {
    if (this.#stream.queued <= NET_SOCKET_QUEUE_BYTES) callback()
    else this.#pending = callback
  }

  #drained(): void {
    const { queued } = this.#stream
    if (queued <= NET_SOCKET_QUEUE_BYTES) {
      const callback = this.#pending
      this.#pending = undefined
      callback?.()
    }
    // 'finish' promises that everything has left.
    if (queued === 0) {
      const callback = this.#finalCallback
      this.#finalCallback = undefined
      callback?.()
    }
  }

  readonly #streamClosed = (reason: CloseReason): void => {
    this.#isClosed = true
    if (reason.kind === 'fin') {
      this.#drained()
    } else if (!this.destroyed) {
      const isOurs = reason.by === 'local'
      const error = isOurs
        ? undefined
        : (reason.error ?? socketError('ECONNRESET', { syscall: 'read' }))
      this.destroy(error)
    }
  }

  /** Restarts the idle timer of `setTimeout`. */
  #active(): void {
    if (this.timeout !== undefined && this.timeout > 0) this.setTimeout(this.timeout)
  }

  /** The accessors of Socket ask the handle; these are this object's own. */
  #showEnds(): void {
    const local = describe(this.#stream.local)
    const remote = describe(this.#stream.remote)
    Object.defineProperties(this, {
      connecting: { ...value(false), writable: true },
      pending: value(false),
      localAddress: value(local.address),
      localPort: value(local.port),
      localFamily: value(local.family),
      remoteAddress: value(remote.address),
      remotePort: value(remote.port),
      remoteFamily: value(remote.family),
      bytesRead: getter(() => this.#bytesRead),
      bytesWritten: getter(() => this.#bytesWritten),
    })
  }
}

const value = (of: unknown): PropertyDescriptor => ({
  value: of,
  enumerable: true,
  configurable: true,
})

const getter = (get: () => unknown): PropertyDescriptor => ({
  get,
  enumerable: true,
  configurable: true,
})

function describe(end: Endpoint | undefined): {
  address?: string
  port?: number
  family?: string
} {
  if (end === undefined || !isIpEndpoint(end)) return {}
  return { address: end.ip, port: end.port, family: ipFamily(end.ip) === 6 ? 'IPv6' : 'IPv4' }
}
