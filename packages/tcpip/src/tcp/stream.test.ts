import {
  type Acceptor,
  type ByteStream,
  type Dialer,
  type Endpoint,
  type IpEndpoint,
  seededRandom,
  socketError,
  systemClock,
} from '@netkit/core'
import { streamNetworkCompliance } from '@netkit/core/compliance'
import { describe, test } from 'vitest'
import { FaultLink } from '../../test/simulator/fault-link.ts'
import { SimulatedHost } from '../../test/simulator/simulated-host.ts'

/** Two hosts for each connection, joined by a wire without faults, in real time. */
class WirePerConnection implements Dialer, Acceptor {
  readonly #listeners = new Map<number, (stream: ByteStream) => void>()
  readonly #random = seededRandom(1)
  #port = 0
  #dialed = 0

  listen: Acceptor['listen'] = async (at, accept, options) => {
    options?.signal?.throwIfAborted()
    const port = (at as IpEndpoint).port || ++this.#port
    const address = { ip: '198.18.0.1', port }
    if (this.#listeners.has(port))
      throw socketError('EADDRINUSE', { syscall: 'listen', ...address })
    this.#listeners.set(port, accept)
    const close = async (): Promise<void> => {
      if (this.#listeners.get(port) === accept) this.#listeners.delete(port)
    }
    return { address, close, [Symbol.asyncDispose]: close }
  }

  connect: Dialer['connect'] = async (to, options) => {
    options?.signal?.throwIfAborted()
    const remote = to as IpEndpoint
    if (options?.from) throw socketError('EADDRNOTAVAIL', { syscall: 'connect', ...remote })
    const client = { ip: '198.18.0.2', port: 40_000 + ++this.#dialed }
    const links: FaultLink[] = []
    const host = (local: IpEndpoint, peer: IpEndpoint, link: number): SimulatedHost =>
      new SimulatedHost({
        clock: systemClock,
        random: this.#random,
        local,
        remote: peer,
        mss: 1460,
        lossless: true,
        tcp: {},
        send: (segment) => links[link]?.send(segment),
      })
    const near = host(client, remote, 0)
    const far = host(remote, client, 1)
    for (const end of [far, near]) {
      links.push(
        new FaultLink({
          clock: systemClock,
          random: this.#random,
          delayMs: 0,
          batchMs: 0,
          faults: [],
          deliver: (batch) => end.batch(batch),
        }),
      )
    }
    const accept = this.#listeners.get(remote.port)
    if (accept) {
      far.accept = (connection) => {
        void connection.established.then(accept, () => {})
      }
    }
    const connection = near.connect()
    const abort = (): void => connection.abort(new Error('aborted'))
    options?.signal?.addEventListener('abort', abort)
    try {
      return await connection.established
    } catch (error) {
      options?.signal?.throwIfAborted()
      throw error
    } finally {
      options?.signal?.removeEventListener('abort', abort)
    }
  }
}

streamNetworkCompliance(
  { describe, test },
  {
    name: 'two TCPs on a wire',
    setup: () => {
      const network = new WirePerConnection()
      return {
        dialer: network,
        acceptor: network,
        at: (): Endpoint => ({ ip: '198.18.0.1', port: 0 }),
        nobody: (): Endpoint => ({ ip: '198.18.0.1', port: 9 }),
      }
    },
  },
)
