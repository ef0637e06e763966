/** A broker between two networks in memory, and what its tests do with it. */

import { memoryNetwork, readAll, writeAll, ManualClock } from '@netkit/core'
import type { ByteStream, Endpoint, IpEndpoint, Network, PortError } from '@netkit/core'
import { createPortBroker } from './index.ts'
import type { PortBroker, PortBrokerOptions, PortEvent } from './index.ts'

export const text = (value: string): Uint8Array => new TextEncoder().encode(value)
export const loopback = (port: number): IpEndpoint => ({ ip: '127.0.0.1', port })
export const GUEST = { ip: '192.168.65.3', port: 80 }

/** A service that answers with `banner` and what it was sent, once the client has ended. */
export async function echo(network: Network, at: Endpoint, banner = ''): Promise<void> {
  await network.listen(at, (stream) => void respond(stream, banner))
}

async function respond(stream: ByteStream, banner: string): Promise<void> {
  const bytes = await readAll(stream)
  await writeAll(stream, text(banner))
  await writeAll(stream, bytes)
  stream.end()
}

export async function ask(
  network: Network,
  to: Endpoint,
  question = 'ping',
  from?: IpEndpoint,
): Promise<string> {
  const stream = await network.connect(to, from === undefined ? {} : { from })
  await writeAll(stream, text(question))
  stream.end()
  return new TextDecoder().decode(await readAll(stream))
}

export interface Rig {
  host: Network
  guest: Network
  clock: ManualClock
  broker: PortBroker
  events: PortEvent[]
}

export function rig(options: Partial<PortBrokerOptions> = {}): Rig {
  const clock = new ManualClock()
  const host = memoryNetwork()
  const guest = memoryNetwork()
  const broker = createPortBroker({ host, clock, platform: 'linux', ...options })
  const events: PortEvent[] = []
  broker.on((event) => events.push(event))
  return { host, guest, clock, broker, events }
}

/** Lets everything that is already possible happen. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

export const failure = async (promise: Promise<unknown>): Promise<PortError> =>
  await promise.then(
    () => {
      throw new Error('did not fail')
    },
    (error: unknown) => error as PortError,
  )
