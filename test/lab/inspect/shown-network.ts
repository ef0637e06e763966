/**
 * A network in which something happens, for the page that shows it: a host in memory with servers at documentation addresses, and a
 * guest that asks for names, opens flows, is denied some, and goes through the proxy.
 */

import { Block, egressRules, memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { ByteStream, Network } from '@netkit/core'
import { createDnsServer, udpUpstream, zones } from '@netkit/dns'
import { captured, memoryLinkPair, pcapRing } from '@netkit/frames'
import type { PcapRing } from '@netkit/frames'
import { createGuestNetwork, type GuestNetwork } from '@netkit/guestnet'
import { createStack } from '@netkit/tcpip'

const SERVERS = {
  'www.example.com': '203.0.113.5',
  'registry.example.com': '203.0.113.20',
  'api.corp.test': '203.0.113.80',
  'pastebin.example.net': '203.0.113.99',
} as const

/** A network with what happens in it. */
export interface ShownNetwork extends AsyncDisposable {
  readonly network: GuestNetwork
  readonly capture: PcapRing
  /** Opens so many flows more, to a server that keeps them. */
  open(count: number): Promise<void>
  /** Sends so many bytes over one of the open flows, and gets them back. */
  talk(bytes: number): Promise<void>
  /** Asks for a name, as the guest. */
  resolve(name: string, type?: string): Promise<void>
  /** The guest opens a flow and closes it; a denial is no error. */
  visit(ip: string, port: number): Promise<void>
}

/** Connections at once while many are opened: the gateway bounds half-open ones. */
const AT_ONCE = 100

/** Gives back what it gets. */
function echo(stream: ByteStream): void {
  const block = new Block(new Uint8Array(65_536))
  stream.read({
    room: () => ({ block, offset: 0, length: block.length }),
    filled: (length) => {
      const copy = new Block(block.bytes.slice(0, length))
      stream.write(copy, 0, length)
    },
    end: () => stream.end(),
  })
}

async function serveHost(host: Network): Promise<void> {
  for (const ip of Object.values(SERVERS)) await host.listen({ ip, port: 443 }, echo)
}

/** Makes it. */
export async function shownNetwork(): Promise<ShownNetwork> {
  const host = memoryNetwork()
  await serveHost(host)
  const names = zones({ authoritative: ['.'], ttl: 300 })
  for (const [name, data] of Object.entries(SERVERS)) names.set(name, { type: 'A', data })
  const network = await createGuestNetwork({
    host,
    hostPrefixes: [],
    hostAlias: true,
    dns: { upstream: names, hostsFile: false },
    policy: egressRules([
      {
        action: 'deny',
        name: 'no pastebins',
        names: ['pastebin.example.net'],
        reason: 'nothing leaves through a pastebin',
      },
      { action: 'allow', name: 'the registry', names: ['registry.example.com'] },
    ]),
  })
  const capture = pcapRing()
  const [inside, link] = memoryLinkPair()
  network.attach(captured(link, capture, { name: 'vm' }), { name: 'vm' })
  const gateway = network.gateway.address
  const stack = createStack(inside, {
    addresses: [`${gateway.replace(/1$/, '3')}/24`],
    routers: [gateway],
  })
  const client = createDnsServer({
    upstream: udpUpstream({ network: stack.network, server: { ip: gateway, port: 53 } }),
    cache: false,
  })
  const open: ByteStream[] = []
  const connect = async (ip: string): Promise<void> => {
    open.push(await stack.network.connect({ ip, port: 443 }))
  }
  await network.publish('8080:80', { owner: 'web' })
  await network.publish('5432:5432', { owner: 'database' })
  return {
    network,
    capture,
    async open(count) {
      const ips = Object.values(SERVERS).slice(0, 3)
      for (let at = 0; at < count; at += AT_ONCE) {
        const some = Array.from({ length: Math.min(AT_ONCE, count - at) }, (_, i) =>
          connect(ips[(at + i) % ips.length] ?? ''),
        )
        await Promise.all(some)
      }
    },
    async talk(bytes) {
      const stream = open[0]
      if (!stream) return
      const got = new Promise<void>((resolve) => {
        let left = bytes
        const block = new Block(new Uint8Array(65_536))
        stream.read({
          room: () => (left > 0 ? { block, offset: 0, length: block.length } : undefined),
          filled: (length) => {
            left -= length
            if (left <= 0) resolve()
          },
          end: () => resolve(),
        })
      })
      await writeAll(stream, new Uint8Array(bytes))
      await got
    },
    async resolve(name, type = 'A') {
      await client.responder.resolve(name, type)
    },
    async visit(ip, port) {
      const stream = await stack.network.connect({ ip, port }).catch(() => undefined)
      stream?.end()
      if (stream) await readAll(stream)
    },
    async [Symbol.asyncDispose]() {
      for (const stream of open) stream.reset()
      await client.close()
      await stack.close()
      await network.close()
    },
  }
}
