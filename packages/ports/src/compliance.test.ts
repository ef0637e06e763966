import { formatEndpoint, memoryNetwork, memoryStreamPair, socketError } from '@netkit/core'
import type { Acceptor, ByteStream, Endpoint, Listening, ListenOptions } from '@netkit/core'
import { portPublisherCompliance, streamNetworkCompliance } from '@netkit/core/compliance'
import { hostNetwork } from '@netkit/core/node'
import { describe, test } from 'vitest'
import { createPortBroker, openForwarderMux } from './index.ts'
import type { MuxIncoming, PortBroker } from './index.ts'

/** Listens behind the far end of a multiplexer. */
class MuxAcceptor implements Acceptor {
  readonly #listeners = new Map<string, (stream: ByteStream) => void>()
  #next = 1

  readonly incoming = (incoming: MuxIncoming): void => {
    if (incoming.protocol === 'udp') return
    const accept = this.#listeners.get(formatEndpoint(incoming.to))
    if (accept === undefined) incoming.stream.reset()
    else accept(incoming.stream)
  }

  async listen(
    at: Endpoint,
    accept: (stream: ByteStream) => void,
    options: ListenOptions = {},
  ): Promise<Listening> {
    options.signal?.throwIfAborted()
    const address = 'port' in at && at.port === 0 ? { ...at, port: this.#next++ } : at
    const key = formatEndpoint(address)
    if (this.#listeners.has(key)) throw socketError('EADDRINUSE', { syscall: 'listen' })
    this.#listeners.set(key, accept)
    const close = async (): Promise<void> => void this.#listeners.delete(key)
    return { address, close, [Symbol.asyncDispose]: close }
  }
}

streamNetworkCompliance(
  { describe, test },
  {
    name: 'the forwarder multiplexer',
    async setup() {
      const acceptor = new MuxAcceptor()
      const [near, far] = memoryStreamPair()
      const [dialer] = await Promise.all([
        openForwarderMux(near),
        openForwarderMux(far, { accept: acceptor.incoming, ids: 'down' }),
      ])
      return {
        dialer,
        acceptor,
        at: () => ({ ip: '127.0.0.1', port: 0 }),
        nobody: () => ({ ip: '127.0.0.1', port: 65_000 }),
      }
    },
    skip: [
      {
        test: 'a place where nobody listens refuses at once',
        reason: 'the protocol has no answer to open; the stream is reset',
      },
      {
        test: 'a listener that is closed refuses, and its streams live on',
        reason: 'the protocol has no answer to open; the stream is reset',
      },
    ],
  },
)

const brokers: PortBroker[] = []

streamNetworkCompliance(
  { describe, test },
  {
    name: 'a published port of the host, into a guest',
    async setup() {
      const guest = memoryNetwork()
      const host = hostNetwork()
      const broker = createPortBroker({ host })
      brokers.push(broker)
      const lease = await broker.reserve([{ protocol: 'tcp', ip: '127.0.0.1', port: 0 }], {
        owner: 'web',
      })
      const [published = { ip: '', port: 0 }] = lease.ports
      const acceptor: Acceptor = {
        async listen(at, accept, options) {
          const listening = await guest.listen(at, accept, options)
          await lease.commit([{ network: guest, to: listening.address }])
          return listening
        },
      }
      return {
        dialer: host,
        acceptor,
        at: () => ({ ip: '192.168.65.3', port: 0 }),
        toward: () => ({ ip: published.ip, port: published.port }),
        nobody: () => ({ ip: published.ip, port: published.port }),
      }
    },
    async teardown() {
      await Promise.all(brokers.splice(0).map((broker) => broker.close()))
    },
    skip: [
      {
        test: 'a place where nobody listens refuses at once',
        reason: 'the port itself is there; the client is reset once the guest has refused',
      },
      {
        test: 'a listener that is closed refuses, and its streams live on',
        reason: 'the port itself is there; the client is reset once the guest has refused',
      },
    ],
  },
)

portPublisherCompliance(
  { describe, test },
  {
    name: 'port broker',
    setup() {
      const host = hostNetwork()
      const broker = createPortBroker({ host })
      brokers.push(broker)
      return {
        publisher: broker,
        outside: host,
        inside: memoryNetwork(),
        // On 127.0.0.1 the client ports of whatever else runs stand in the way of a range.
        ip: process.platform === 'linux' ? '127.65.0.2' : '127.0.0.1',
        insideIp: '192.168.65.3',
      }
    },
    async teardown() {
      await Promise.all(brokers.splice(0).map((broker) => broker.close()))
    },
  },
)
