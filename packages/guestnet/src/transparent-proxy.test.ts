/** A guest's connections to the web on a host that has a proxy, and on one that has none. */

import { chunks, egressRules, memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { ByteStream, EgressPolicy, Network } from '@netkit/core'
import { zones } from '@netkit/dns'
import { memoryLinkPair } from '@netkit/frames'
import { createStack } from '@netkit/tcpip'
import type { Stack } from '@netkit/tcpip'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createGuestNetwork } from './guest-network.ts'
import type { GuestNetwork } from './guest-network.ts'

const WEB = '203.0.113.7'
const PROXY = { ip: '127.0.0.1', port: 8888 }
const hop = { via: 'http', host: PROXY.ip, port: PROXY.port } as const

interface Place {
  readonly host: Network
  readonly network: GuestNetwork
  readonly guest: Stack
}

async function place(options: { proxied: boolean; policy?: EgressPolicy }): Promise<Place> {
  const host = memoryNetwork()
  const network = await createGuestNetwork({
    host,
    subnet: '198.18.1.0/24',
    hostPrefixes: [],
    dns: {
      upstream: zones({ authoritative: ['.'] })
        .set('www.example', [
          { type: 'A', data: WEB },
          { type: 'HTTPS', data: https },
        ])
        .set('other.example', { type: 'A', data: WEB }),
      hostsFile: false,
    },
    proxy: {
      sources: [
        {
          name: 'manual',
          decide: () => (options.proxied ? { hops: [hop], reason: 'a test' } : undefined),
        },
      ],
    },
    ...(options.policy && { policy: options.policy }),
  })
  const [vm, link] = memoryLinkPair()
  network.attach(link, { name: 'vm' })
  const routers = [network.gateway.address]
  const guest = createStack(vm, { addresses: ['198.18.1.3/24'], routers })
  onTestFinished(async () => {
    await guest.close()
    await network.close()
  })
  return { host, network, guest }
}

/** `1 . alpn=h2,h3` (RFC 9460). */
const https = Uint8Array.from([0, 1, 0, 0, 1, 0, 6, 2, 104, 50, 2, 104, 51])

/** Asks the gateway's resolver as the guest would, over TCP; the answer's bytes. */
async function resolve({ guest, network }: Place, name: string, type: number): Promise<Buffer> {
  const stream = await guest.network.connect({ ip: network.gateway.address, port: 53 })
  const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)])
  const query = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1]
  await writeAll(stream, Uint8Array.from([0, query.length, ...query]))
  stream.end()
  return Buffer.from(await readAll(stream))
}

async function said(stream: ByteStream, words: string | Uint8Array): Promise<string> {
  await writeAll(stream, words)
  stream.end()
  return Buffer.from(await readAll(stream)).toString('latin1')
}

/** An upstream that takes any tunnel and then echoes; the request lines it got. */
async function upstream(host: Network): Promise<string[]> {
  const lines: string[] = []
  await host.listen(PROXY, (stream) => {
    void (async () => {
      const head = Buffer.from(await readHead(stream)).toString('latin1')
      lines.push(head.split('\r\n', 1)[0] ?? '')
      if (!head.startsWith('CONNECT')) {
        await writeAll(
          stream,
          'HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nproxy',
        )
      } else {
        await writeAll(stream, 'HTTP/1.1 200 OK\r\n\r\n')
        await writeAll(stream, await readAll(stream))
      }
      stream.end()
    })().catch(() => {})
  })
  return lines
}

async function readHead(stream: ByteStream): Promise<Uint8Array> {
  let seen = Buffer.alloc(0)
  for await (const bytes of chunks(stream)) {
    seen = Buffer.concat([seen, bytes])
    if (seen.includes('\r\n\r\n')) break
  }
  return seen
}

test('without a proxy a connection is dialled as every other, and HTTP/3 stays', async () => {
  const here = await place({ proxied: false })
  await here.host.listen({ ip: WEB, port: 443 }, (stream) => {
    void writeAll(stream, 'origin').then(() => stream.end())
  })
  const stream = await here.guest.network.connect({ ip: WEB, port: 443 })
  expect(await said(stream, 'x')).toBe('origin')
  expect((await resolve(here, 'www.example', 65)).includes('h3')).toBe(true)
  expect(here.network.gateway.snapshot().tcp.at(-1)).toMatchObject({ action: 'dial' })
  expect(
    (await here.network.explain(`${WEB}:443`, { protocol: 'udp' })).flows[0]?.verdict.allow,
  ).toBe(true)
})

describe('through the proxy of the host', () => {
  test('TLS goes there by the name that the guest had asked for, before the guest is answered', async () => {
    const here = await place({ proxied: true })
    // Nothing listens at the proxy: the guest sees that at once, as it would at the origin.
    await resolve(here, 'www.example', 1)
    await expect(here.guest.network.connect({ ip: WEB, port: 443 })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
    const lines = await upstream(here.host)
    const stream = await here.guest.network.connect({ ip: WEB, port: 443 })
    expect(await said(stream, 'anything')).toBe('anything')
    expect(lines).toEqual(['CONNECT www.example:443 HTTP/1.1'])
    expect(here.network.gateway.snapshot().tcp.at(-1)).toMatchObject({
      rule: 'proxy: http 127.0.0.1:8888',
    })
  })

  test('HTTP goes there by its Host', async () => {
    const here = await place({ proxied: true })
    const lines = await upstream(here.host)
    const stream = await here.guest.network.connect({ ip: WEB, port: 80 })
    expect(await said(stream, 'GET /x HTTP/1.1\r\nHost: other.example\r\n\r\n')).toMatch(/proxy$/)
    expect(lines).toEqual(['GET http://other.example/x HTTP/1.1'])
  })

  test('QUIC is refused and not advertised', async () => {
    const here = await place({ proxied: true })
    const { flows } = await here.network.explain('www.example:443', { protocol: 'udp' })
    expect(flows.map(({ verdict }) => [verdict.allow, verdict.rule])).toEqual([
      [false, 'netkit:quic'],
    ])
    const answer = await resolve(here, 'www.example', 65)
    expect([answer.includes('h2'), answer.includes('h3')]).toEqual([true, false])
  })

  test('other ports, the gateway and the host alias are not touched', async () => {
    const here = await place({ proxied: true })
    await here.host.listen({ ip: WEB, port: 8443 }, (stream) => stream.end())
    await readAll(await here.guest.network.connect({ ip: WEB, port: 8443 }))
    await expect(
      here.guest.network.connect({ ip: here.network.gateway.address, port: 443 }),
    ).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

test('an allow-list by name looks into the connection: what DNS had said does not help another name', async () => {
  const policy = egressRules([{ action: 'allow', names: ['www.example'] }], { fallback: 'deny' })
  const here = await place({ proxied: false, policy })
  await resolve(here, 'www.example', 1)
  await here.host.listen({ ip: WEB, port: 80 }, (stream) => {
    void writeAll(stream, 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
  })
  const ask = async (name: string): Promise<string> =>
    said(
      await here.guest.network.connect({ ip: WEB, port: 80 }),
      `GET / HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`,
    )
  expect(await ask('www.example')).toMatch(/^HTTP\/1.1 200 /)
  expect(await ask('other.example')).toMatch(/^HTTP\/1.1 403 [^]*netkit-error: denied/)
})
