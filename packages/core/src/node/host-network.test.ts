import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { binderCompliance, streamNetworkCompliance } from '../compliance/index.ts'
import { canReadAccepted } from './accepted-socket.ts'
import { proveHandles } from './handle-writer.ts'
import { hostNetwork } from './host-network.ts'
import type { HostNetworkOptions } from './host-network.ts'

const directory = mkdtempSync(join(tmpdir(), 'netkit-'))
afterAll(() => rmSync(directory, { recursive: true }))
let sockets = 0

/** A port that was free a moment ago. */
async function freePort(ip: string): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen({ host: ip, port: 0 }, resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

test('accepted sockets can be read into own buffers here', async () => {
  expect(await canReadAccepted()).toBe(true)
})

test('sockets can be written to through their handles here', async () => {
  expect(await proveHandles()).toBe(true)
})

const kinds: readonly [string, HostNetworkOptions][] = [
  ['onread, written to by handle', { acceptedReads: 'onread' }],
  ["'data' events, written to as streams", { acceptedReads: 'data', writes: 'stream' }],
]

for (const [reads, options] of kinds) {
  for (const ip of ['127.0.0.1', '::1']) {
    streamNetworkCompliance(
      { describe, test },
      {
        name: `host TCP at ${ip}, accepted sockets read by ${reads}`,
        setup() {
          const network = hostNetwork(options)
          return {
            dialer: network,
            acceptor: network,
            at: () => ({ ip, port: 0 }),
            nobody: async () => ({ ip, port: await freePort(ip) }),
            from: { ip: ip === '::1' ? '::1' : '127.0.0.9', port: 0 },
          }
        },
      },
    )
  }
  streamNetworkCompliance(
    { describe, test },
    {
      name: `host unix sockets, accepted sockets read by ${reads}`,
      setup() {
        const network = hostNetwork(options)
        return {
          dialer: network,
          acceptor: network,
          at: () => ({ path: join(directory, `${++sockets}.sock`) }),
          nobody: () => ({ path: join(directory, 'nobody.sock') }),
        }
      },
      skip: ['dialer', 'acceptor'].map((side) => ({
        test: `reset by the ${side} reaches the ${side === 'dialer' ? 'acceptor' : 'dialer'}`,
        reason: 'a unix socket has no RST: the peer sees FIN',
      })),
    },
  )
}

for (const ip of ['127.0.0.1', '::1']) {
  binderCompliance(
    { describe, test },
    {
      name: `host UDP at ${ip}`,
      setup: () => ({
        binder: hostNetwork(),
        ip,
        maxBytes: ip === '::1' ? 65_527 : 65_507,
        nobody: async () => ({ ip, port: await freePort(ip) }),
      }),
    },
  )
}
