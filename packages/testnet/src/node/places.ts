/** Two places for the same claims: the kernel's loopback and a test network. */

import { once } from 'node:events'
import type { AddressInfo, Server } from 'node:net'
import { createTestnet } from './node-testnet.ts'
import type { NodeTestnet } from './node-testnet.ts'

export interface Place {
  /** Runs as the server's program, as the client's. */
  server: <T>(run: () => T) => T
  client: <T>(run: () => T) => T
  /** The server's address. */
  readonly ip: string
  close(): Promise<void>
}

/** For `describe.each`. */
export const PLACES: [string, () => Place][] = [
  ['the loopback of the kernel', loopback],
  ['a test network', virtual],
]

export const portOf = (server: Server): number => (server.address() as AddressInfo).port

/** Listens on the server's side; the caller closes it. */
export async function listenAt<S extends Server>(place: Place, server: S): Promise<S> {
  place.server(() => server.listen(0, place.ip))
  await once(server, 'listening')
  return server
}

function loopback(): Place {
  return {
    server: (run) => run(),
    client: (run) => run(),
    ip: '127.0.0.1',
    close: () => Promise.resolve(),
  }
}

function virtual(): Place {
  const testnet: NodeTestnet = createTestnet()
  const [server, client] = [testnet.host('server.test'), testnet.host('client.test')]
  return {
    server: (run) => server.run(run),
    client: (run) => client.run(run),
    ip: server.ip,
    close: () => testnet.close(),
  }
}
