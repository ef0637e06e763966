/** Segments of one flow in one chunk: judged once as to who speaks, each time as to what it says. */

import { ManualClock, memoryStreamPair } from '@netkit/core'
import type { ByteStream, ReadTarget } from '@netkit/core'
import { memoryLinkPair, TCP_FLAG } from '@netkit/frames'
import { describe, expect, test } from 'vitest'
import { ip, RawGuest } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { createGateway } from '../gateway/gateway.ts'

const { syn: SYN, ack: ACK, rst: RST } = TCP_FLAG
const SERVER = ip('203.0.113.5')
const ISN = 1000

/** What arrives at the host, as text. */
function listenTo(stream: ByteStream): { text: string; ended: boolean } {
  const heard = { text: '', ended: false }
  const target: ReadTarget = {
    room: () => undefined,
    filled() {},
    take(block, offset, length) {
      heard.text += new TextDecoder().decode(block.bytes.slice(offset, offset + length))
      return length
    },
    end() {
      heard.ended = true
    },
  }
  stream.read(target)
  return heard
}

/** A guest with established flows from the given ports. */
async function established(...ports: number[]) {
  const streams: ByteStream[] = []
  const network = {
    connect() {
      const [near, far] = memoryStreamPair()
      streams.push(far)
      return Promise.resolve(near)
    },
    listen: () => Promise.reject(new Error('not here')),
    bind: () => Promise.reject(new Error('not here')),
  }
  const gateway = createGateway({ network, clock: new ManualClock() })
  const [inside, outside] = memoryLinkPair({ delivery: 'sync' })
  const guest = gateway.attach(outside, { name: 'one' })
  const raw = new RawGuest(inside, 0x5254_0012_3456, '192.168.65.3')
  const acks = new Map<number, number>()
  for (const port of ports) {
    raw.send(raw.tcp(port, SERVER, 80, { flags: SYN, seq: ISN }))
    await settled()
    const [synAck] = raw.takeTcp()
    acks.set(port, (synAck?.seq ?? 0) + 1)
    raw.send(raw.tcp(port, SERVER, 80, { flags: ACK, seq: ISN + 1, ack: acks.get(port) ?? 0 }))
  }
  await settled()
  raw.take()
  const heard = streams.map(listenTo)
  /** A segment with `text` at byte `at` of the flow. */
  const data = (port: number, at: number, text: string, flags: number = ACK) =>
    raw.tcp(port, SERVER, 80, {
      flags,
      seq: ISN + 1 + at,
      ack: acks.get(port) ?? 0,
      payload: new TextEncoder().encode(text),
    })
  return { guest, raw, heard, data }
}

function flipped(frame: Uint8Array, at: number): Uint8Array {
  frame[at] = (frame[at] ?? 0) ^ 1
  return frame
}

describe('a run of segments', () => {
  test('arrives whole and in order, and is acknowledged once', async () => {
    const { raw, heard, data } = await established(1000)
    const pieces = Array.from({ length: 40 }, (_, i) => `<${i}>`)
    let at = 0
    raw.send(
      ...pieces.map((text) => {
        const frame = data(1000, at, text)
        at += text.length
        return frame
      }),
    )
    await settled()
    expect(heard[0]?.text).toBe(pieces.join(''))
    expect(raw.takeTcp().map(({ ack }) => ack)).toEqual([ISN + 1 + at])
  })

  test('two flows that take turns keep their bytes apart', async () => {
    const { raw, heard, data } = await established(1000, 2000)
    const turns = Array.from({ length: 12 }, (_, i) => [
      data(1000, 2 * i, 'aa'),
      data(2000, 2 * i, 'bb'),
    ])
    raw.send(...turns.flat())
    await settled()
    expect(heard.map(({ text }) => text)).toEqual(['a'.repeat(24), 'b'.repeat(24)])
  })

  test.each([
    ['IP checksum', 24, 'ipv4-bad-checksum'],
    ['TCP payload', 54, 'tcp-bad-checksum'],
    ['TCP checksum', 50, 'tcp-bad-checksum'],
  ])('a segment in the middle with a damaged %s is dropped and counted', async (_, at, reason) => {
    const { raw, heard, data, guest } = await established(1000)
    raw.send(data(1000, 0, 'one'), flipped(data(1000, 3, 'two'), at), data(1000, 6, 'six'))
    await settled()
    expect(guest.stats().dropped).toEqual({ [reason]: 1 })
    expect(heard[0]?.text).toBe('one')
    raw.send(data(1000, 3, 'two'))
    await settled()
    expect(heard[0]?.text).toBe('onetwosix')
  })

  test.each([
    ['says more than the frame has', (frame: Uint8Array) => frame.subarray(0, 56)],
    ['is cut within the TCP header', (frame: Uint8Array) => frame.subarray(0, 44)],
    ['is cut within the ports', (frame: Uint8Array) => frame.subarray(0, 36)],
  ])('a segment whose length %s is dropped', async (_, cut) => {
    const { raw, heard, data, guest } = await established(1000)
    raw.send(data(1000, 0, 'one'), cut(data(1000, 3, 'two!')), data(1000, 3, 'two?'))
    await settled()
    expect(heard[0]?.text).toBe('onetwo?')
    expect(guest.stats().dropped).toEqual({ 'ipv4-truncated': 1 })
  })

  test('a frame in between that says to come from a group is dropped, whatever else it says', async () => {
    const { raw, heard, data, guest } = await established(1000)
    raw.send(data(1000, 0, 'one'), flipped(data(1000, 3, 'bad'), 6), data(1000, 3, 'two'))
    await settled()
    expect(heard[0]?.text).toBe('onetwo')
    expect(guest.stats().dropped).toEqual({ 'ethernet-group-source': 1 })
  })

  test('a RST ends it: what follows in the same chunk is answered by RST', async () => {
    const { raw, heard, data } = await established(1000)
    raw.send(data(1000, 0, 'one'), data(1000, 3, '', RST | ACK), data(1000, 3, 'two'))
    await settled()
    expect(heard[0]?.text).not.toContain('two')
    expect(raw.takeTcp().map(({ flags }) => flags & RST)).toContain(RST)
  })

  test('a detached guest is not heard any more', async () => {
    const { raw, heard, data, guest } = await established(1000)
    raw.send(data(1000, 0, 'one'))
    await settled()
    guest.detach()
    raw.send(data(1000, 3, 'two'))
    await settled()
    expect(heard[0]?.text).toBe('one')
  })
})
