/**
 * Many connections over one stream, as vpnkit-forwarder in a guest speaks it: the data path for guests that carry vpnkit's agent
 * and have no network stack of ours.
 *
 * ```
 *   host:  openForwarderMux(stream)  ── connect, bind ──▶ open frames ──▶  guest: serveForwarder(stream, network) ──▶ network.connect
 * ```
 *
 * Either end may dial. The protocol does not say whether a dial succeeded: `connect` resolves at once, and a target that refuses
 * resets the stream. A frame that makes no sense, an id that is used twice, or more data than the window allows end the
 * connection, since nothing after it could be trusted.
 */

import { blockOf, splice } from '@netkit/core'
import type { ByteStream, DatagramPort, Endpoint, IpEndpoint, Network } from '@netkit/core'
import { MuxConnection } from './mux-connection.ts'
import type { ForwarderMux, ForwarderMuxOptions, MuxIncoming } from './mux-contract.ts'

/**
 * Exchanges the handshake over `stream` and starts multiplexing. Takes over the stream.
 *
 * @throws NetkitError `NETKIT_MUX_HANDSHAKE` when the peer speaks something else, or nothing within the limit.
 *
 * @example
 * ```ts
 * import { memoryNetwork, memoryStreamPair, readAll } from '@netkit/core'
 * import { openForwarderMux, serveForwarder } from '@netkit/ports'
 *
 * const guest = memoryNetwork()
 * await guest.listen({ ip: '127.0.0.1', port: 80 }, (stream) => stream.end())
 * const [host, agent] = memoryStreamPair()
 * const [mux] = await Promise.all([openForwarderMux(host), serveForwarder(agent, guest)])
 * const stream = await mux.connect({ ip: '127.0.0.1', port: 80 })
 * console.assert((await readAll(stream)).length === 0)
 * ```
 */
export async function openForwarderMux(
  stream: ByteStream,
  options: ForwarderMuxOptions = {},
): Promise<ForwarderMux> {
  const mux = new MuxConnection(stream, options)
  await mux.handshake
  return mux
}

/**
 * The guest's end: dials in `network` what the peer opens, as `vpnkit-forwarder` does.
 *
 * @throws NetkitError `NETKIT_MUX_HANDSHAKE`
 */
export async function serveForwarder(
  stream: ByteStream,
  network: Network,
  options: Omit<ForwarderMuxOptions, 'accept'> = {},
): Promise<ForwarderMux> {
  const accept = (incoming: MuxIncoming): void => {
    if (incoming.protocol === 'udp') void relay(incoming.port, incoming.to, network)
    else void join(incoming.stream, incoming.to, network)
  }
  return await openForwarderMux(stream, { ids: 'down', ...options, accept })
}

async function join(client: ByteStream, to: Endpoint, network: Network): Promise<void> {
  try {
    splice(client, await network.connect(to, { origin: { layer: 'ports' } }))
  } catch {
    client.reset()
  }
}

async function relay(client: DatagramPort, to: IpEndpoint, network: Network): Promise<void> {
  const any = { ip: to.ip.includes(':') ? '::' : '0.0.0.0', port: 0 }
  try {
    const target = await network.bind(any, { connected: to, origin: { layer: 'ports' } })
    client.onMessage((bytes) => target.send(blockOf(bytes.slice()), 0, bytes.length))
    target.onMessage((bytes) => client.send(blockOf(bytes.slice()), 0, bytes.length))
    client.onError(() => void target.close())
  } catch {
    await client.close()
  }
}
