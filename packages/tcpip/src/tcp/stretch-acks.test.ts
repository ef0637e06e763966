/** When a bulk sender is acknowledged: every quarter of the window, and as soon as it pauses. */

import { ManualClock, memoryStreamPair } from '@netkit/core'
import type { ReadTarget } from '@netkit/core'
import { memoryLinkPair, TCP_FLAG } from '@netkit/frames'
import { describe, expect, test } from 'vitest'
import { ip, RawGuest } from '../../test/raw-guest.ts'
import { settled } from '../../test/settled.ts'
import { createGateway } from '../gateway/gateway.ts'
import { QUICK_ACKS } from './limits.ts'

const { syn: SYN, ack: ACK } = TCP_FLAG
const SERVER = ip('203.0.113.5')
const SEGMENT = new Uint8Array(1000)

/** Takes everything. */
const eater: ReadTarget = {
  room: () => undefined,
  filled() {},
  take: (_block, _offset, length) => length,
  end() {},
}

/** A guest in the middle of a transfer, behind its first ACKs. The gateway's window is what its header's field can say: 64 KiB. */
async function bulkSender() {
  const clock = new ManualClock()
  const [near, far] = memoryStreamPair()
  far.read(eater)
  const network = {
    connect: () => Promise.resolve(near),
    listen: () => Promise.reject(new Error('not here')),
    bind: () => Promise.reject(new Error('not here')),
  }
  const gateway = createGateway({ network, clock })
  const [inside, outside] = memoryLinkPair({ delivery: 'sync' })
  gateway.attach(outside, { name: 'one' })
  const raw = new RawGuest(inside, 0x5254_0012_3456, '192.168.65.3')
  raw.send(raw.tcp(1000, SERVER, 80, { flags: SYN, seq: 0 }))
  await settled()
  const ack = (raw.takeTcp()[0]?.seq ?? 0) + 1
  let seq = 1
  /** Sends segments of 1000 bytes in one chunk; gives the bytes that were acknowledged at once. */
  const send = async (count: number): Promise<number[]> => {
    const frames = Array.from({ length: count }, () => {
      const frame = raw.tcp(1000, SERVER, 80, { flags: ACK, seq, ack, payload: SEGMENT })
      seq += SEGMENT.length
      return frame
    })
    raw.send(...frames)
    await settled()
    return acknowledged()
  }
  const acknowledged = () => raw.takeTcp().map((segment) => segment.ack - 1)
  raw.send(raw.tcp(1000, SERVER, 80, { flags: ACK, seq, ack }))
  await settled()
  for (let i = 0; i < QUICK_ACKS; i++) expect(await send(1)).toEqual([(i + 1) * SEGMENT.length])
  const sent = () => seq - 1
  return { clock, send, sent, acknowledged }
}

describe('a bulk sender', () => {
  test('that pauses is acknowledged once its link was read again', async () => {
    const { clock, send, sent, acknowledged } = await bulkSender()
    expect(await send(5)).toEqual([])
    await clock.advance(0)
    await settled()
    expect(acknowledged()).toEqual([sent()])
  })

  test('that goes on is acknowledged every quarter of the window', async () => {
    const { send, sent } = await bulkSender()
    expect(await send(8)).toEqual([])
    expect(await send(8)).toEqual([])
    expect(await send(1)).toEqual([sent()])
    expect(await send(16)).toEqual([])
    expect(await send(1)).toEqual([sent()])
  })

  test('that sends less than two segments waits no longer than ever', async () => {
    const { clock, send, sent, acknowledged } = await bulkSender()
    expect(await send(1)).toEqual([])
    await clock.advance(39)
    expect(acknowledged()).toEqual([])
    await clock.advance(2)
    await settled()
    expect(acknowledged()).toEqual([sent()])
  })
})
