/** A guest that was reset: its connections end, those of a guest that has only asked for its address again live. */

import { ManualClock, memoryNetwork } from '@netkit/core'
import type { ByteStream } from '@netkit/core'
import { BROADCAST_MAC, memoryLinkPair, TCP_FLAG } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { ip, RawGuest } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { createGateway } from './gateway.ts'

const { syn: SYN, ack: ACK, rst: RST } = TCP_FLAG
const SERVER = ip('203.0.113.5')
const DISCOVER = 1
const REQUEST = 3

function dhcp(raw: RawGuest, type: number): Uint8Array {
  const bytes = new Uint8Array(300)
  bytes.set([1, 1, 6])
  bytes.set([0x52, 0x54, 0, 0x12, 0x34, 0x56], 28)
  bytes.set([0x63, 0x82, 0x53, 0x63, 53, 1, type, 50, 4, 192, 168, 65, 3, 255], 236)
  return raw.udp(68, 0xffff_ffff, 67, bytes, { from: 0, destinationMac: BROADCAST_MAC })
}

/** A guest with a lease and an idle connection, of which the host has `host`. */
async function setUp() {
  const network = memoryNetwork()
  const accepted = new Promise<ByteStream>((resolve) => {
    void network.listen({ ip: '203.0.113.5', port: 80 }, resolve)
  })
  const clock = new ManualClock()
  const gateway = createGateway({ network, clock })
  const [inside, outside] = memoryLinkPair({ delivery: 'sync' })
  const guest = gateway.attach(outside, { name: 'vm' })
  const raw = new RawGuest(inside, 0x5254_0012_3456, '192.168.65.3')
  raw.gatewayMac = 0x026e_6b00_0001
  raw.send(dhcp(raw, REQUEST))
  raw.send(raw.tcp(1000, SERVER, 80, { flags: SYN, seq: 1 }))
  await settled()
  const synAck = raw.takeTcp().find(({ flags }) => (flags & SYN) !== 0)
  const ack = (synAck?.seq ?? 0) + 1
  const send = (flags: number): void =>
    raw.send(raw.tcp(1000, SERVER, 80, { flags, seq: flags === RST ? ack : 2, ack }))
  send(ACK)
  await settled()
  return { gateway, guest, raw, clock, send, ack, host: await accepted, network }
}

/** Whether the host's side has ended by now. */
async function ended(host: ByteStream): Promise<unknown> {
  await settled()
  return Promise.race([host.closed, Promise.resolve('open')])
}

describe('a guest whose DHCP client begins anew', () => {
  it('is asked, and its connection ends when it does not know it any more', async () => {
    const { raw, clock, host, ack } = await setUp()
    await clock.advance(60_000)
    raw.take()
    raw.send(dhcp(raw, DISCOVER))
    await clock.advance(1000)
    // RFC 9293 3.8.4: an octet before what the guest expects.
    const [probe] = raw.takeTcp()
    expect([probe?.seq, probe?.flags, probe?.payload.length]).toEqual([ack - 1, ACK, 0])
    expect(await ended(host)).toBe('open')
    raw.send(raw.tcp(1000, SERVER, 80, { flags: RST, seq: probe?.ack ?? 0 }))
    expect(await ended(host)).toMatchObject({ kind: 'reset' })
  })

  it('keeps a connection that it answers for', async () => {
    const { raw, clock, host, send, gateway } = await setUp()
    await clock.advance(60_000)
    raw.send(dhcp(raw, DISCOVER))
    await clock.advance(1000)
    send(ACK)
    raw.take()
    await clock.advance(60_000)
    expect(raw.takeTcp()).toEqual([])
    expect(await ended(host)).toBe('open')
    expect(gateway.snapshot().tcp[0]?.state).toBe('open')
  })

  it('that stays silent is given up, and its connections with it', async () => {
    const { raw, clock, host, gateway } = await setUp()
    await clock.advance(60_000)
    raw.send(dhcp(raw, DISCOVER))
    await clock.advance(14_000)
    expect(await ended(host)).toBe('open')
    await clock.advance(1000)
    expect(await ended(host)).toMatchObject({ kind: 'reset' })
    expect(gateway.snapshot().tcp[0]).toMatchObject({ state: 'closed', reason: 'ECONNRESET' })
  })

  it('and has no lease is nobody’s restart', async () => {
    const { raw, clock, gateway } = await setUp()
    gateway.guests.get('vm')?.detach()
    const [inside, outside] = memoryLinkPair({ delivery: 'sync' })
    gateway.attach(outside, { name: 'other' })
    const other = new RawGuest(inside, raw.mac, '192.168.65.3')
    other.send(dhcp(other, DISCOVER))
    await clock.advance(20_000)
    expect(other.takeTcp()).toEqual([])
  })
})

describe('reset()', () => {
  it('ends flows and mappings at once, and leaves link and lease', async () => {
    const { guest, raw, host, gateway, network } = await setUp()
    await network.bind({ ip: '203.0.113.5', port: 4000 })
    raw.send(raw.udp(1000, SERVER, 4000, 'x'))
    await settled()
    expect(gateway.snapshot().udp).toHaveLength(1)
    guest.reset()
    expect(await ended(host)).toMatchObject({ kind: 'reset' })
    const { udp, leases, guests } = gateway.snapshot()
    expect([udp.length, leases[0]?.ip, guests[0]?.state]).toEqual([0, '192.168.65.3', 'up'])
    // The next boot is served as the one before.
    raw.take()
    raw.send(raw.tcp(1001, SERVER, 80, { flags: SYN, seq: 9 }))
    await settled()
    expect(raw.takeTcp().map(({ flags }) => flags)).toEqual([SYN | ACK])
  })
})
