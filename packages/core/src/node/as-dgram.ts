/** A `dgram.Socket` over any `DatagramPort`. */

import { Socket as DgramSocket } from 'node:dgram'
import type { RemoteInfo } from 'node:dgram'
import { EventEmitter } from 'node:events'
import { Block } from '../block.ts'
import type { IpEndpoint } from '../endpoint.ts'
import { socketError } from '../errors.ts'
import type { DatagramPort } from '../network.ts'

/**
 * The port as a bound (and, if it is, connected) `dgram.Socket`. Multicast is not there; the port belongs to the socket from now on.
 *
 * @example
 * ```ts
 * import { once } from 'node:events'
 * import { memoryNetwork } from '@netkit/core'
 * import { asDgram } from '@netkit/core/node'
 *
 * const network = memoryNetwork()
 * const a = asDgram(await network.bind({ ip: '198.18.0.1', port: 0 }))
 * const b = asDgram(await network.bind({ ip: '198.18.0.2', port: 53 }))
 * const message = once(b, 'message')
 * a.send('ping', 53, '198.18.0.2')
 * console.assert(String((await message)[0]) === 'ping')
 * ```
 */
export function asDgram(port: DatagramPort): DgramSocket {
  const socket = new PortSocket(port)
  // A real dgram.Socket opens a descriptor in its constructor; this one only has its name.
  const prototype = Object.create(
    DgramSocket.prototype,
    Object.getOwnPropertyDescriptors(PortSocket.prototype),
  ) as object
  return Object.setPrototypeOf(socket, prototype) as DgramSocket
}

type SendCallback = (error: Error | null, bytes: number) => void

class PortSocket extends EventEmitter {
  readonly type: 'udp4' | 'udp6'
  readonly #port: DatagramPort
  readonly #family: 'IPv4' | 'IPv6'
  #isClosed = false

  constructor(port: DatagramPort) {
    super()
    this.#port = port
    const isV6 = port.local.ip.includes(':')
    this.type = isV6 ? 'udp6' : 'udp4'
    this.#family = isV6 ? 'IPv6' : 'IPv4'
    port.onMessage((bytes, from) => {
      const info: RemoteInfo = {
        address: from.ip,
        port: from.port,
        family: this.#family,
        size: bytes.length,
      }
      this.emit('message', Buffer.from(bytes), info)
    })
    port.onError(({ error }) => {
      // Like a socket of the host: an error that nobody listens for ends the process.
      this.emit('error', error)
    })
  }

  send(
    message: string | ArrayBufferView | readonly (string | ArrayBufferView)[],
    ...rest: unknown[]
  ): void {
    if (this.#isClosed) throw notRunning()
    const callback = rest.find((arg) => typeof arg === 'function') as SendCallback | undefined
    const numbers = rest.filter((arg) => typeof arg === 'number')
    const address = rest.find((arg) => typeof arg === 'string')
    let bytes = bytesOf(message)
    const needsPort = this.#port.connected === undefined
    // send(message, offset, length, port?, address?) or send(message, port?, address?)
    const hasRange = numbers.length >= 2
    if (hasRange) bytes = bytes.subarray(numbers[0], (numbers[0] ?? 0) + (numbers[1] ?? 0))
    const port = numbers[hasRange ? 2 : 0]
    const to = needsPort ? this.#destination(address, port) : undefined
    this.#port.send(new Block(bytes), 0, bytes.length, to)
    if (callback !== undefined) process.nextTick(() => callback(null, bytes.length))
  }

  address(): { address: string; port: number; family: string } {
    if (this.#isClosed) throw notRunning()
    const { ip, port } = this.#port.local
    return { address: ip, port, family: this.#family }
  }

  remoteAddress(): { address: string; port: number; family: string } {
    const { connected } = this.#port
    if (connected === undefined)
      throw socketError('EINVAL', { reason: 'the socket is not connected' })
    return { address: connected.ip, port: connected.port, family: this.#family }
  }

  bind(): never {
    throw socketError('EINVAL', { syscall: 'bind', reason: 'the socket is bound already' })
  }

  connect(): never {
    throw socketError('ENOTSUP', {
      syscall: 'connect',
      reason: 'bind the port with `connected` instead',
    })
  }

  disconnect(): never {
    throw socketError('ENOTSUP', { syscall: 'disconnect' })
  }

  close(callback?: () => void): this {
    if (this.#isClosed) throw notRunning()
    this.#isClosed = true
    if (callback !== undefined) this.once('close', callback)
    void this.#port.close().then(this.#closed)
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    await new Promise<void>((resolve) => {
      this.close(resolve)
    })
  }

  readonly #closed = (): void => {
    this.emit('close')
  }

  getSendQueueSize(): number {
    return this.#port.queued
  }

  getSendQueueCount(): number {
    return this.#port.queued > 0 ? 1 : 0
  }

  // Nothing to keep alive, and nothing to tune.
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
  setBroadcast(): void {}
  setTTL(ttl: number): number {
    return ttl
  }
  getRecvBufferSize(): number {
    return 0
  }
  getSendBufferSize(): number {
    return 0
  }
  setRecvBufferSize(): void {}
  setSendBufferSize(): void {}

  #destination(address: string | undefined, port: number | undefined): IpEndpoint {
    if (port === undefined)
      throw socketError('EINVAL', { syscall: 'send', reason: 'send() needs a port' })
    const loopback = this.#family === 'IPv6' ? '::1' : '127.0.0.1'
    return { ip: address === undefined || address === 'localhost' ? loopback : address, port }
  }
}

function bytesOf(
  message: string | ArrayBufferView | readonly (string | ArrayBufferView)[],
): Uint8Array {
  if (typeof message === 'string') return Buffer.from(message)
  if (Array.isArray(message))
    return Buffer.concat(message.map((part: string | ArrayBufferView) => bytesOf(part)))
  const view = message as ArrayBufferView
  return Uint8Array.from(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
}

const notRunning = (): Error =>
  Object.assign(new Error('Not running'), { code: 'ERR_SOCKET_DGRAM_NOT_RUNNING' })
