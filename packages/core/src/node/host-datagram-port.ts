/** A `DatagramPort` over a UDP socket of the host. */

import { createSocket } from 'node:dgram'
import type { RemoteInfo, Socket } from 'node:dgram'
import { ipFamily, normalizeIp } from '../address.ts'
import type { Block } from '../block.ts'
import type { IpEndpoint } from '../endpoint.ts'
import { socketError } from '../errors.ts'
import type { BindOptions, DatagramFailure, DatagramPort } from '../network.ts'
import { DATAGRAM_QUEUE_BYTES, DATAGRAM_RECEIVE_BUFFER_BYTES } from './limits.ts'

/** Binds a UDP port of the host; with `connected` the kernel reports ICMP errors of that peer. */
export async function bindHostPort(
  at: IpEndpoint,
  options: BindOptions = {},
): Promise<DatagramPort> {
  const { signal, connected } = options
  signal?.throwIfAborted()
  const ip = normalizeIp(at.ip)
  const family = ipFamily(ip)
  if (connected !== undefined && ipFamily(connected.ip) !== family) {
    throw socketError('EAFNOSUPPORT', {
      syscall: 'connect',
      address: connected.ip,
      port: connected.port,
      reason: `a port at ${ip} cannot be connected to an address of the other family`,
    })
  }
  const socket = createSocket({
    type: family === 4 ? 'udp4' : 'udp6',
    ipv6Only: family === 6,
    // Endpoints are addresses already; Node's own lookup would put a turn between send() and the kernel.
    lookup: (address, _options, callback) => callback(null, address, family ?? 4),
  })
  try {
    await started(socket, 'listening', () =>
      socket.bind({ address: ip, port: at.port, exclusive: true }),
    )
    if (connected !== undefined) {
      await started(socket, 'connect', () => socket.connect(connected.port, connected.ip))
    }
    signal?.throwIfAborted()
    growReceiveBuffer(socket)
  } catch (error) {
    socket.close()
    throw error
  }
  return new HostDatagramPort(socket, connected)
}

/** Room for a burst while this process is busy elsewhere. The kernel takes what it allows; where it refuses, its default stays. */
function growReceiveBuffer(socket: Socket): void {
  try {
    socket.setRecvBufferSize(DATAGRAM_RECEIVE_BUFFER_BYTES)
  } catch {
    // macOS and the BSDs refuse what is over their limit, and Linux takes its own.
  }
}

/** Resolves with the event, rejects with 'error'. */
function started(socket: Socket, event: 'listening' | 'connect', start: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const onEvent = (): void => {
      socket.off('error', onError)
      resolve()
    }
    const onError = (error: Error): void => {
      socket.off(event, onEvent)
      reject(error)
    }
    socket.once(event, onEvent)
    socket.once('error', onError)
    try {
      start()
    } catch (error) {
      reject(error)
    }
  })
}

/** The port over a bound socket. */
export class HostDatagramPort implements DatagramPort {
  readonly local: IpEndpoint
  readonly connected: IpEndpoint | undefined
  readonly #socket: Socket
  #message: ((bytes: Uint8Array, from: IpEndpoint) => void) | undefined
  #error: ((failure: DatagramFailure) => void) | undefined
  // Datagrams the kernel has not confirmed, oldest first: its callbacks come in order. Nearly all of them are with the kernel before
  // send() returns and are confirmed in the same turn.
  readonly #blocks: Block[] = []
  readonly #targets: (IpEndpoint | undefined)[] = []
  #closing: Promise<void> | undefined

  constructor(socket: Socket, connected: IpEndpoint | undefined) {
    this.#socket = socket
    this.connected = connected
    const { address, port } = socket.address()
    this.local = { ip: withoutZone(address), port }
    socket.on('message', this.#received)
    socket.on('error', (error) => {
      this.#fail(error, connected)
    })
  }

  get queued(): number {
    // Asking libuv is the dearer half of a small send; without an unconfirmed datagram the answer is known.
    if (this.#blocks.length === 0 || this.#closing !== undefined) return 0
    return this.#socket.getSendQueueSize()
  }

  onMessage(run: ((bytes: Uint8Array, from: IpEndpoint) => void) | undefined): void {
    this.#message = run
  }

  onError(run: ((failure: DatagramFailure) => void) | undefined): void {
    this.#error = run
  }

  send(block: Block, offset: number, length: number, to?: IpEndpoint): void {
    if (this.#closing !== undefined) {
      block.unpin()
      return
    }
    const target = this.connected ?? to
    if (
      target === undefined ||
      (this.connected !== undefined && to !== undefined && !sameEnd(to, this.connected))
    ) {
      this.#refuse(
        block,
        socketError('EINVAL', {
          syscall: 'send',
          reason: 'a datagram needs one destination: the peer it is connected to, or `to`',
        }),
        to,
      )
      return
    }
    if (this.queued + length > DATAGRAM_QUEUE_BYTES) {
      const where = { address: target.ip, port: target.port }
      this.#refuse(block, socketError('ENOBUFS', { syscall: 'send', ...where }), target)
      return
    }
    const bytes = block.bytes.subarray(offset, offset + length)
    this.#blocks.push(block)
    this.#targets.push(target)
    try {
      if (this.connected === undefined) this.#socket.send(bytes, target.port, target.ip, this.#sent)
      else this.#socket.send(bytes, this.#sent)
    } catch (error) {
      // Node checks port and address and throws before it takes the datagram.
      this.#blocks.pop()
      this.#targets.pop()
      const where = { address: target.ip, port: target.port }
      this.#refuse(
        block,
        socketError('EINVAL', { syscall: 'send', ...where, cause: error }),
        target,
      )
    }
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#socket.close(() => {
        for (const block of this.#blocks.splice(0)) block.unpin()
        resolve()
      })
    })
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  readonly #received = (bytes: Uint8Array, from: RemoteInfo): void => {
    const ip = from.family === 'IPv4' ? from.address : withoutZone(from.address)
    this.#message?.(bytes, { ip, port: from.port })
  }

  readonly #sent = (error: Error | null): void => {
    const target = this.#targets.shift()
    this.#blocks.shift()?.unpin()
    if (error !== null) this.#fail(error, target)
  }

  #refuse(block: Block, error: Error, to: IpEndpoint | undefined): void {
    block.unpin()
    // Never from within send().
    queueMicrotask(() => this.#fail(error, to))
  }

  #fail(error: Error, to: IpEndpoint | undefined): void {
    if (this.#closing !== undefined) return
    this.#error?.(to === undefined ? { error } : { error, to })
  }
}

const sameEnd = (a: IpEndpoint, b: IpEndpoint): boolean => a.port === b.port && a.ip === b.ip

function withoutZone(address: string): string {
  const zone = address.indexOf('%')
  return zone < 0 ? address : address.slice(0, zone)
}
