/** Daemons of the host, played by the test; layouts as cited in resolved-varlink.ts and mdns-responder.ts. */

import { blockOf, memoryNetwork } from '@netkit/core'
import type { ByteStream, Network } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import type { HostResolver } from '../host-resolver.ts'
import { zones } from '../layers/zones.ts'
import { createResponder } from '../server.ts'
import { dug, queryBytes } from '../testing/dig.ts'
import { nameToWire } from '../wire/name.ts'
import { lookupResolver } from './lookup-resolver.ts'
import { mdnsResponderUpstream } from './mdns-responder.ts'
import { pump } from './pump.ts'
import { resolvedResolver } from './resolved-varlink.ts'

const send = (stream: ByteStream, bytes: Uint8Array): void =>
  stream.write(blockOf(bytes), 0, bytes.length)
const join = (...parts: (readonly number[] | Uint8Array)[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...part]))
const u16 = (n: number): number[] => [(n >>> 8) & 0xff, n & 0xff]
const u32 = (n: number): number[] => [...u16(n >>> 16), ...u16(n & 0xffff)]

const rr = (owner: string, type: number, ttl: number, rdata: Uint8Array | number[]): Uint8Array =>
  join(nameToWire(owner), u16(type), u16(1), u32(ttl), u16(rdata.length), rdata)

const fallback: HostResolver = {
  ...lookupResolver(async () => []),
  exchange: async (request) =>
    (await createResponder({
      layers: [zones().set('a.test', { type: 'A', data: '192.0.2.99' })],
    }).answer(request)) ?? new Uint8Array(),
}

/** resolved: each call gets `reply`, in two pieces. */
async function resolved(
  network: Network,
  reply: (call: { method: string; parameters: { name: string; type: number } }) => unknown,
): Promise<void> {
  await network.listen({ path: '/run/resolved' }, (stream) => {
    let text = ''
    pump(
      stream,
      (bytes) => {
        text += new TextDecoder().decode(bytes)
        if (!text.endsWith('\0')) return
        const answer = new TextEncoder().encode(
          `${JSON.stringify(reply(JSON.parse(text.slice(0, -1)) as never))}\0`,
        )
        send(stream, answer.slice(0, 9))
        send(stream, answer.slice(9))
      },
      () => stream.end(),
    )
  })
}

const raw = (bytes: Uint8Array): { ifindex: number; raw: string } => ({
  ifindex: 2,
  raw: Buffer.from(bytes).toString('base64'),
})

describe('systemd-resolved over varlink', () => {
  test('records of any type arrive as they were on the wire, with their TTLs', async () => {
    const network = memoryNetwork()
    const calls: unknown[] = []
    await resolved(network, (call) => {
      calls.push(call)
      return {
        parameters: {
          flags: 1,
          rrs: [
            raw(rr('www.a.test', 5, 300, nameToWire('a.test'))),
            raw(rr('a.test', 65, 60, join(u16(1), [0]))),
          ],
        },
      }
    })
    const host = resolvedResolver({ network, path: '/run/resolved', fallback })
    const answer = dug(await host.exchange(queryBytes('www.a.test', 'HTTPS', { edns: 1232 })))
    expect(answer.answers).toEqual(['www.a.test CNAME 300 a.test', 'a.test HTTPS 60 \\# 3 000100'])
    expect(calls).toEqual([
      {
        method: 'io.systemd.Resolve.ResolveRecord',
        parameters: { name: 'www.a.test', class: 1, type: 65 },
      },
    ])
  })

  test.each([
    ['NoSuchResourceRecord', {}, 'NOERROR'],
    ['DNSError', { rcode: 3 }, 'NXDOMAIN'],
    ['QueryRefused', {}, 'REFUSED'],
    ['QueryTimedOut', {}, 'SERVFAIL'],
    ['NoNameServers', {}, 'SERVFAIL'],
  ])('%s becomes %s %s', async (error, parameters, rcode) => {
    const network = memoryNetwork()
    await resolved(network, () => ({ error: `io.systemd.Resolve.${error}`, parameters }))
    const host = resolvedResolver({ network, path: '/run/resolved', fallback })
    expect(dug(await host.exchange(queryBytes('a.test', 'A', { edns: 1232 })))).toMatchObject({
      rcode,
      question: 'a.test A',
    })
  })

  test('a resolved that is not there, or does not know the method, leaves it to resolv.conf', async () => {
    const network = memoryNetwork()
    const host = resolvedResolver({ network, path: '/run/resolved', fallback })
    const query = queryBytes('a.test', 'A', { edns: 1232 })
    expect(dug(await host.exchange(query)).answers).toEqual(['a.test A 5 192.0.2.99'])
    await resolved(network, () => ({ error: 'org.varlink.service.MethodNotFound', parameters: {} }))
    expect(dug(await host.exchange(query)).answers).toEqual(['a.test A 5 192.0.2.99'])
  })

  test('a record that is none is left out and counted', async () => {
    const network = memoryNetwork()
    await resolved(network, () => ({
      parameters: {
        rrs: [raw(rr('a.test', 1, 60, [1, 2, 3])), raw(rr('a.test', 1, 60, [192, 0, 2, 1]))],
      },
    }))
    const host = resolvedResolver({ network, path: '/run/resolved', fallback })
    expect(dug(await host.exchange(queryBytes('a.test', 'A', { edns: 1232 }))).answers).toEqual([
      'a.test A 60 192.0.2.1',
    ])
    expect(host.stats().rejected).toBe(1)
  })
})

/** mDNSResponder: answers each query with these bytes; what it was asked is in `asked`. */
async function responder(network: Network, answer: () => Uint8Array): Promise<Uint8Array[]> {
  const asked: Uint8Array[] = []
  await network.listen({ path: '/var/run/mDNSResponder' }, (stream) => {
    pump(
      stream,
      (bytes) => {
        asked.push(bytes.slice())
        for (const byte of answer()) send(stream, Uint8Array.of(byte))
      },
      () => stream.end(),
    )
  })
  return asked
}
const ACCEPTED = u32(0)
const reply = (
  flags: number,
  error: number,
  name: string,
  type: number,
  rdata: Uint8Array | number[],
  ttl: number,
): Uint8Array => {
  const body = join(
    u32(flags),
    u32(0),
    u32(error),
    [...new TextEncoder().encode(`${name}\0`)],
    u16(type),
    u16(1),
    u16(rdata.length),
    rdata,
    u32(ttl),
  )
  return join(u32(1), u32(body.length), u32(0), u32(68), u32(0), u32(0), u32(0), body)
}

describe('mDNSResponder', () => {
  test('asks with the layout of dnssd_ipc.h and takes the chain of records, byte by byte', async () => {
    const network = memoryNetwork()
    const asked = await responder(network, () =>
      join(
        ACCEPTED,
        reply(0x3, 0, 'www.a.test.', 5, nameToWire('a.test'), 300),
        reply(0x3, 0, 'a.test.', 1, [192, 0, 2, 1], 60),
        reply(0x2, 0, 'a.test.', 1, [192, 0, 2, 2], 60),
      ),
    )
    const answer = dug(
      await mdnsResponderUpstream({ network }).exchange(
        queryBytes('www.a.test', 'A', { edns: 1232 }),
      ),
    )
    expect(answer.answers).toEqual([
      'www.a.test CNAME 300 a.test',
      'a.test A 60 192.0.2.1',
      'a.test A 60 192.0.2.2',
    ])
    const name = [...new TextEncoder().encode('www.a.test.\0')]
    expect([...(asked[0] ?? [])]).toEqual([
      ...u32(1),
      ...u32(8 + name.length + 4),
      ...u32(0),
      ...u32(8),
      ...u32(0),
      ...u32(0),
      ...u32(0),
      ...u32(0x11000),
      ...u32(0),
      ...name,
      ...u16(1),
      ...u16(1),
    ])
  })

  test.each([
    ['NoSuchRecord', -65_554, 'NOERROR'],
    ['NoSuchName', -65_538, 'NXDOMAIN'],
    ['Refused', -65_553, 'SERVFAIL'],
  ])('%s (%i) becomes %s', async (_name, error, rcode) => {
    const network = memoryNetwork()
    await responder(network, () => join(ACCEPTED, reply(0x2, error, 'a.test.', 28, [], 0)))
    const answer = dug(
      await mdnsResponderUpstream({ network }).exchange(
        queryBytes('a.test', 'AAAA', { edns: 1232 }),
      ),
    )
    expect(answer).toMatchObject({ rcode, answers: [] })
  })

  test.each([
    ['a refusal', join(u32(-65_540)), /error -65540/],
    [
      'another version',
      join(ACCEPTED, u32(2), u32(0), u32(0), u32(68), u32(0), u32(0), u32(0)),
      /another protocol/,
    ],
    [
      'a length beyond reason',
      join(ACCEPTED, u32(1), u32(0x7fffffff), u32(0), u32(68), u32(0), u32(0), u32(0)),
      /another protocol/,
    ],
    [
      'a body cut short',
      join(ACCEPTED, u32(1), u32(13), u32(0), u32(68), u32(0), u32(0), u32(0), new Uint8Array(13)),
      /too short/,
    ],
    ['a timeout', join(ACCEPTED, reply(0x2, -65_568, 'a.test.', 1, [], 0)), /in time/],
  ])('%s is an error, not a hang', async (_what, bytes, message) => {
    const network = memoryNetwork()
    await responder(network, () => bytes)
    await expect(
      mdnsResponderUpstream({ network }).exchange(queryBytes('a.test', 'A', { edns: 1232 })),
    ).rejects.toThrow(message)
  })
})
