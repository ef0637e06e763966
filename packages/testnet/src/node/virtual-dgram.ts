/** A `dgram.Socket` on a virtual host. Multicast is not there. */

import { AsyncResource } from 'node:async_hooks'
import { Socket as DgramSocket } from 'node:dgram'
import type { SocketOptions } from 'node:dgram'
import { EventEmitter } from 'node:events'
import { isIP } from 'node:net'
import { Block, socketError } from '@netkit/core'
import type { DatagramPort, IpEndpoint, Network } from '@netkit/core'
import { callSite } from '../call-site.ts'
import { hold, release } from './keep-alive.ts'
import { assertPort, withErrno } from './node-error.ts'
import type { SocketHost } from './socket-host.ts'

type SendCallback = (error: Error | null, bytes?: number) => void
type Bytes = string | ArrayBufferView | readonly (string | ArrayBufferView)[]
interface Address {
  address: string
  port: number
  family: string
}

/** A socket of the host that is not bound. */
export function datagramOn(
  host: SocketHost,
  options: SocketOptions,
  onMessage?: (...args: unknown[]) => void,
): DgramSocket {
  if (options.type !== 'udp4') {
    throw withErrno(
      socketError('EAFNOSUPPORT', { syscall: 'socket', reason: 'virtual hosts have IPv4 only' }),
    )
  }
  const socket = new VirtualDgram(host)
  if (onMessage !== undefined) socket.on('message', onMessage)
  options.signal?.addEventListener('abort', () => socket.close(), { once: true })
  return socket as unknown as DgramSocket
}

/** See above. */
class VirtualDgram extends EventEmitter {
  readonly type = 'udp4'
  readonly #host: SocketHost
  readonly #scope = new AsyncResource('NETKITDATAGRAM')
  #binding: Promise<DatagramPort> | undefined
  #port: DatagramPort | undefined
  #peer: IpEndpoint | undefined
  #isClosed = false

  constructor(host: SocketHost) {
    super()
    this.#host = host
  }

  bind(...args: unknown[]): this {
    this.#assertOpen()
    if (this.#binding !== undefined) {
      throw Object.assign(new Error('Socket is already bound'), {
        code: 'ERR_SOCKET_ALREADY_BOUND',
      })
    }
    const [first, second] = args
    const callback = args.find((each) => typeof each === 'function') as (() => void) | undefined
    const options =
      typeof first === 'object' && first !== null
        ? (first as { port?: number; address?: string })
        : {
            port: Number(typeof first === 'function' ? 0 : (first ?? 0)),
            ...(typeof second === 'string' && { address: second }),
          }
    if (callback !== undefined) this.once('listening', callback)
    void this.#bind(options.address ?? '0.0.0.0', options.port ?? 0).catch(this.#failed)
    return this
  }

  connect(port: number, ...rest: unknown[]): void {
    this.#assertOpen()
    const address = typeof rest[0] === 'string' ? rest[0] : 'localhost'
    const callback = rest.find((each) => typeof each === 'function') as (() => void) | undefined
    if (callback !== undefined) this.once('connect', callback)
    const connect = async (): Promise<void> => {
      const ip = await this.#resolve(address)
      await this.#rebind(own({ ip, port }, this.#host))
      this.#scope.runInAsyncScope(() => this.emit('connect'))
    }
    void connect().catch(this.#failed)
  }

  disconnect(): void {
    if (this.#peer === undefined) throw notConnected()
    void this.#rebind(undefined).catch(this.#failed)
  }

  send(message: Bytes, ...rest: unknown[]): void {
    this.#assertOpen()
    const callback = rest.find((each) => typeof each === 'function') as SendCallback | undefined
    const numbers = rest.filter((each) => typeof each === 'number')
    const address = rest.find((each) => typeof each === 'string')
    const isConnected = this.#peer !== undefined
    // send(message, offset, length, port?, address?) or send(message, port?, address?)
    const hasRange = numbers.length >= 2
    let bytes = bytesOf(message)
    if (hasRange) {
      const [offset = 0, length = 0] = numbers
      bytes = bytes.subarray(offset, offset + length)
    }
    const port = numbers[hasRange ? 2 : 0]
    if (!isConnected) assertPort(port, 1)
    const send = async (): Promise<void> => {
      try {
        const bound = await this.#bind('0.0.0.0', 0)
        const to = this.#peer ?? {
          ip: await this.#resolve(address ?? 'localhost'),
          port: port ?? 0,
        }
        bound.send(new Block(bytes), 0, bytes.length, own(to, this.#host))
        this.#scope.runInAsyncScope(() => callback?.(null, bytes.length))
      } catch (error) {
        if (callback === undefined) this.#failed(error)
        else this.#scope.runInAsyncScope(() => callback(withErrno(error)))
      }
    }
    void send()
  }

  address(): Address {
    this.#assertOpen()
    if (this.#port === undefined) throw withErrno(socketError('EINVAL', { syscall: 'getsockname' }))
    const { ip, port } = this.#port.local
    return { address: ip, port, family: 'IPv4' }
  }

  remoteAddress(): Address {
    if (this.#peer !== undefined) {
      return { address: this.#peer.ip, port: this.#peer.port, family: 'IPv4' }
    }
    throw notConnected()
  }

  close(callback?: () => void): this {
    this.#assertOpen()
    this.#isClosed = true
    release(this)
    if (callback !== undefined) this.once('close', callback)
    void this.#port?.close()
    process.nextTick(() => this.#scope.runInAsyncScope(() => this.emit('close')))
    return this
  }

  ref(): this {
    if (!this.#isClosed && this.#port !== undefined) hold(this)
    return this
  }

  unref(): this {
    release(this)
    return this
  }

  setBroadcast(): void {}

  setTTL(ttl: number): number {
    return ttl
  }

  getRecvBufferSize(): number {
    return 212_992
  }

  getSendBufferSize(): number {
    return 212_992
  }

  setRecvBufferSize(): void {}

  setSendBufferSize(): void {}

  addMembership(): never {
    throw withErrno(socketError('ENOTSUP', { syscall: 'addMembership' }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    await new Promise<void>((resolve) => {
      this.close(resolve)
    })
  }

  #bind(address: string, port: number): Promise<DatagramPort> {
    this.#binding ??= this.#bindNow(this.#host.networkAt(callSite()), address, port)
    return this.#binding
  }

  /** A port of the stack is connected or not from the start: the same number is bound anew. */
  async #rebind(peer: IpEndpoint | undefined): Promise<void> {
    const network = this.#host.networkAt(callSite())
    const bound = await this.#binding
    await bound?.close()
    this.#peer = peer
    const { ip, port } = bound?.local ?? { ip: '0.0.0.0', port: 0 }
    this.#binding = this.#bindNow(network, ip, port)
    await this.#binding
  }

  async #bindNow(network: Network, address: string, port: number): Promise<DatagramPort> {
    const ip = await this.#resolve(address)
    const connected = this.#peer
    const isFirst = this.#port === undefined
    const bound = await network.bind({ ip, port }, connected === undefined ? {} : { connected })
    if (this.#isClosed) {
      await bound.close()
      return bound
    }
    this.#port = bound
    hold(this)
    bound.onMessage((bytes, from) => {
      const info = { address: from.ip, port: from.port, family: 'IPv4', size: bytes.length }
      const message = Buffer.from(bytes)
      this.#scope.runInAsyncScope(() => this.emit('message', message, info))
    })
    bound.onError(({ error }) => {
      // As on Linux: an unconnected socket hears nothing of ICMP.
      if (this.#peer !== undefined) this.#failed(error)
    })
    if (isFirst) this.#scope.runInAsyncScope(() => this.emit('listening'))
    return bound
  }

  async #resolve(name: string): Promise<string> {
    if (isIP(name) !== 0) return name
    return (await this.#host.resolver.resolve(name))[0] ?? ''
  }

  readonly #failed = (error: unknown): void => {
    this.#scope.runInAsyncScope(() => this.emit('error', withErrno(error)))
  }

  #assertOpen(): void {
    if (!this.#isClosed) return
    throw Object.assign(new Error('Not running'), { code: 'ERR_SOCKET_DGRAM_NOT_RUNNING' })
  }
}

// A real dgram.Socket opens a descriptor in its constructor; this one only has its name and its type.
Object.setPrototypeOf(VirtualDgram.prototype, DgramSocket.prototype)

const notConnected = (): Error =>
  Object.assign(new Error('Not connected'), { code: 'ERR_SOCKET_DGRAM_NOT_CONNECTED' })

const own = (to: IpEndpoint, host: SocketHost): IpEndpoint =>
  to.ip.startsWith('127.') ? { ...to, ip: host.ip } : to

function bytesOf(message: Bytes): Uint8Array {
  if (typeof message === 'string') return Buffer.from(message)
  if (Array.isArray(message)) {
    return Buffer.concat(message.map((part: string | ArrayBufferView) => bytesOf(part)))
  }
  const view = message as ArrayBufferView
  return Uint8Array.from(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
}
