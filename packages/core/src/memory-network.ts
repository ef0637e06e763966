/**
 * A network in memory: dial, listen and bind without an operating system. Everybody's unit tests use it, and it runs where there
 * are no sockets.
 *
 * Every address exists and is one hop away. Nothing is lost, nothing is late, and errors are the ones a host gives: a port
 * without a listener is `ECONNREFUSED`, a port that is taken `EADDRINUSE`. For loss, delay and real TCP take a virtual host.
 */

import type { ByteStream } from './byte-stream.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { formatEndpoint, isIpEndpoint, isPathEndpoint } from './endpoint.ts'
import type { Endpoint, IpEndpoint } from './endpoint.ts'
import { socketError } from './errors.ts'
import { MemoryDatagramPort } from './memory-datagram-port.ts'
import { memoryStreamPair } from './memory-stream.ts'
import type {
  BindOptions,
  ConnectOptions,
  DatagramPort,
  ListenOptions,
  Listening,
  Network,
} from './network.ts'

/** Options of `memoryNetwork`. */
export interface MemoryNetworkOptions {
  clock?: Clock
}

/**
 * Makes a network in memory.
 *
 * @example
 * ```ts
 * import { memoryNetwork, readAll } from '@netkit/core'
 *
 * const network = memoryNetwork()
 * await using listening = await network.listen({ ip: '127.0.0.1', port: 0 }, (stream) => stream.end())
 * const stream = await network.connect(listening.address)
 * console.assert((await readAll(stream)).length === 0)
 * ```
 */
export function memoryNetwork(options: MemoryNetworkOptions = {}): Network {
  return new MemoryNetwork(options.clock ?? systemClock)
}

type Accept = (stream: ByteStream) => void

interface Listener {
  readonly accept: Accept
  readonly dualStack: boolean
}

// RFC 6335 section 6: the dynamic ports.
const FIRST_EPHEMERAL = 49_152
const EPHEMERAL_COUNT = 65_536 - FIRST_EPHEMERAL

class MemoryNetwork implements Network {
  readonly #clock: Clock
  readonly #listeners = new Map<string, Listener>()
  readonly #ports = new Map<string, MemoryDatagramPort>()
  #nextEphemeral = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async connect(to: Endpoint, options: ConnectOptions = {}): Promise<ByteStream> {
    options.signal?.throwIfAborted()
    checkEndpoint(to, 'connect')
    const local = this.#clientEnd(to, options.from)
    // The round trip of a SYN; a signal that fires meanwhile leaves nothing behind.
    await this.#turn()
    options.signal?.throwIfAborted()
    const listener = this.#findListener(to)
    if (listener === undefined) throw refused(to)
    const [client, server] = memoryStreamPair({
      clock: this.#clock,
      remote: to,
      ...(local === undefined ? {} : { local }),
    })
    listener.accept(server)
    return client
  }

  async listen(at: Endpoint, accept: Accept, options: ListenOptions = {}): Promise<Listening> {
    options.signal?.throwIfAborted()
    checkEndpoint(at, 'listen')
    const address =
      'port' in at && at.port === 0
        ? {
            ...at,
            port: this.#freePort((port) => !this.#listeners.has(formatEndpoint({ ...at, port }))),
          }
        : at
    const key = formatEndpoint(address)
    if (this.#listeners.has(key)) {
      throw socketError('EADDRINUSE', { syscall: 'listen', ...fields(address) })
    }
    const listener: Listener = { accept, dualStack: options.dualStack ?? false }
    this.#listeners.set(key, listener)
    const close = async (): Promise<void> => {
      if (this.#listeners.get(key) === listener) this.#listeners.delete(key)
    }
    return { address, close, [Symbol.asyncDispose]: close }
  }

  async bind(at: IpEndpoint, options: BindOptions = {}): Promise<DatagramPort> {
    options.signal?.throwIfAborted()
    checkEndpoint(at, 'bind')
    const local =
      at.port === 0
        ? {
            ...at,
            port: this.#freePort((port) => !this.#ports.has(formatEndpoint({ ...at, port }))),
          }
        : at
    const key = formatEndpoint(local)
    if (this.#ports.has(key)) {
      throw socketError('EADDRINUSE', { syscall: 'bind', ...fields(local) })
    }
    const port = new MemoryDatagramPort({
      local:
        options.connected === undefined
          ? local
          : { ...local, ip: sourceFor(local, options.connected) },
      connected: options.connected,
      clock: this.#clock,
      find: (to) => this.#findPort(to),
      closed: () => this.#ports.delete(key),
    })
    this.#ports.set(key, port)
    return port
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#clock.defer(resolve))
  }

  #clientEnd(to: Endpoint, from: Endpoint | undefined): Endpoint | undefined {
    if (from !== undefined) {
      if (kindOf(from) !== kindOf(to)) {
        throw socketError('EADDRNOTAVAIL', { syscall: 'connect', ...fields(from) })
      }
      return 'port' in from && from.port === 0
        ? { ...from, port: this.#freePort(() => true) }
        : from
    }
    if (isPathEndpoint(to)) return undefined
    const port = this.#freePort(() => true)
    if (!isIpEndpoint(to)) return { cid: 2, port }
    return { ip: to.ip.includes(':') ? '::1' : '127.0.0.1', port }
  }

  #freePort(isFree: (port: number) => boolean): number {
    for (let tries = 0; tries < EPHEMERAL_COUNT; tries++) {
      const port = FIRST_EPHEMERAL + (this.#nextEphemeral++ % EPHEMERAL_COUNT)
      if (isFree(port)) return port
    }
    throw socketError('EADDRINUSE', { reason: 'every ephemeral port is taken' })
  }

  #findListener(to: Endpoint): Listener | undefined {
    const exact = this.#listeners.get(formatEndpoint(to))
    if (exact !== undefined || !isIpEndpoint(to)) return exact
    const v6Wildcard = this.#listeners.get(`[::]:${to.port}`)
    if (to.ip.includes(':')) return v6Wildcard
    return (
      this.#listeners.get(`0.0.0.0:${to.port}`) ?? (v6Wildcard?.dualStack ? v6Wildcard : undefined)
    )
  }

  #findPort(to: IpEndpoint): MemoryDatagramPort | undefined {
    return (
      this.#ports.get(formatEndpoint(to)) ??
      this.#ports.get(to.ip.includes(':') ? `[::]:${to.port}` : `0.0.0.0:${to.port}`)
    )
  }
}

const kindOf = (endpoint: Endpoint): string =>
  isIpEndpoint(endpoint)
    ? endpoint.ip.includes(':')
      ? 'ipv6'
      : 'ipv4'
    : isPathEndpoint(endpoint)
      ? 'path'
      : 'vsock'

/** A wildcard port that talks to one peer has that route's address. */
function sourceFor(local: IpEndpoint, peer: IpEndpoint): string {
  if (local.ip === '0.0.0.0') return '127.0.0.1'
  if (local.ip === '::') return peer.ip.includes(':') ? '::1' : '127.0.0.1'
  return local.ip
}

function refused(to: Endpoint): Error {
  const code = isPathEndpoint(to) ? 'ENOENT' : 'ECONNREFUSED'
  return socketError(code, { syscall: 'connect', ...fields(to) })
}

function fields(endpoint: Endpoint): { address: string; port?: number } {
  if (isIpEndpoint(endpoint)) return { address: endpoint.ip, port: endpoint.port }
  return { address: formatEndpoint(endpoint) }
}

function checkEndpoint(endpoint: Endpoint, syscall: string): void {
  if (!('port' in endpoint)) return
  const { port } = endpoint
  const limit = isIpEndpoint(endpoint) ? 65_535 : 2 ** 32 - 1
  if (!Number.isInteger(port) || port < 0 || port > limit) {
    throw socketError('EINVAL', { syscall, reason: `${port} is not a port` })
  }
}
