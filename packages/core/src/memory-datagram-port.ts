/** A datagram port of the memory network. */

import type { Block } from './block.ts'
import type { Clock } from './clock.ts'
import { formatEndpoint } from './endpoint.ts'
import type { IpEndpoint } from './endpoint.ts'
import { socketError } from './errors.ts'
import type { SocketErrorCode } from './errors.ts'
import { MAX_DATAGRAM_BYTES, MEMORY_DATAGRAM_QUEUE_BYTES } from './limits.ts'
import type { DatagramFailure, DatagramPort } from './network.ts'

/** What a port needs of its network. */
export interface MemoryDatagramPortOptions {
  readonly local: IpEndpoint
  readonly connected: IpEndpoint | undefined
  readonly clock: Clock
  readonly find: (to: IpEndpoint) => MemoryDatagramPort | undefined
  readonly closed: () => void
}

/** Datagrams travel in one microtask; a port nobody is bound to answers a connected sender with `ECONNREFUSED`. */
export class MemoryDatagramPort implements DatagramPort {
  readonly local: IpEndpoint
  readonly connected: IpEndpoint | undefined
  readonly #options: MemoryDatagramPortOptions
  #message: ((bytes: Uint8Array, from: IpEndpoint) => void) | undefined
  #error: ((failure: DatagramFailure) => void) | undefined
  #queued = 0
  #closed = false

  constructor(options: MemoryDatagramPortOptions) {
    this.local = options.local
    this.connected = options.connected
    this.#options = options
  }

  get queued(): number {
    return this.#queued
  }

  onMessage(run: ((bytes: Uint8Array, from: IpEndpoint) => void) | undefined): void {
    this.#message = run
  }

  onError(run: ((failure: DatagramFailure) => void) | undefined): void {
    this.#error = run
  }

  send(block: Block, offset: number, length: number, to?: IpEndpoint): void {
    const target = to ?? this.connected
    const refusal = this.#refusal(length, target)
    if (this.#closed || target === undefined || refusal !== undefined) {
      block.unpin()
      if (refusal !== undefined) this.#fail(refusal, target)
      return
    }
    this.#queued += length
    this.#options.clock.defer(() => {
      this.#queued -= length
      const peer = this.#options.find(target)
      const bytes = block.bytes.subarray(offset, offset + length)
      if (peer === undefined) this.#unreachable(target)
      else peer.receive(bytes, this.#source(target))
      block.unpin()
    })
  }

  receive(bytes: Uint8Array, from: IpEndpoint): void {
    if (this.#closed) return
    if (this.connected !== undefined && formatEndpoint(this.connected) !== formatEndpoint(from))
      return
    // A receiver that keeps the bytes by mistake must not see them change under it here and not elsewhere: hand out a copy.
    this.#message?.(bytes.slice(), from)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#options.closed()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #refusal(length: number, target: IpEndpoint | undefined): SocketErrorCode | undefined {
    if (this.#closed) return undefined
    if (target === undefined || target.port === 0) return 'EINVAL'
    if (this.connected !== undefined && formatEndpoint(target) !== formatEndpoint(this.connected)) {
      return 'EINVAL'
    }
    if (length > MAX_DATAGRAM_BYTES) return 'EMSGSIZE'
    if (target.ip.includes(':') !== this.local.ip.includes(':')) return 'EAFNOSUPPORT'
    if (this.#queued + length > MEMORY_DATAGRAM_QUEUE_BYTES) return 'ENOBUFS'
    return undefined
  }

  #unreachable(target: IpEndpoint): void {
    // As on a host: only a connected socket hears of ICMP errors.
    if (this.connected !== undefined) this.#fail('ECONNREFUSED', target)
  }

  #fail(code: SocketErrorCode, to: IpEndpoint | undefined): void {
    const where = to === undefined ? {} : { address: to.ip, port: to.port }
    const failure = {
      error: socketError(code, { syscall: 'send', ...where }),
      ...(to === undefined ? {} : { to }),
    }
    // Never from within send().
    this.#options.clock.defer(() => {
      if (!this.#closed) this.#error?.(failure)
    })
  }

  #source(to: IpEndpoint): IpEndpoint {
    if (this.local.ip === '0.0.0.0') return { ip: '127.0.0.1', port: this.local.port }
    if (this.local.ip === '::')
      return { ip: to.ip.includes(':') ? '::1' : '127.0.0.1', port: this.local.port }
    return this.local
  }
}
