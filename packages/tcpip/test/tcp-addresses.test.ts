/** RFC 9293 3.9.2.3: TCP speaks with one peer at a time, so neither end is a group. */

import { Block } from '@netkit/core'
import {
  type FrameSink,
  TCP_FLAG,
  TcpView,
  encodeTcp,
  memoryLinkPair,
  pseudoHeader4,
} from '@netkit/frames'
import { expect, test } from 'vitest'
import { createStack } from '../src/stack/stack.ts'

const u32 = (ip: string): number => ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)

/** An Ethernet frame with a SYN. */
function syn(mac: string, from: string, to: string): Uint8Array {
  const block = new Block(new Uint8Array(54))
  const { view, bytes } = block
  bytes.set(mac.split(':').map((part) => Number.parseInt(part, 16)))
  bytes.set([2, 0, 0, 0, 0, 9], 6)
  view.setUint16(12, 0x0800)
  bytes.set([0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6], 14)
  view.setUint32(26, u32(from))
  view.setUint32(30, u32(to))
  let sum = 0
  for (let at = 14; at < 34; at += 2) sum += view.getUint16(at)
  view.setUint16(24, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff)
  const ports = { sourcePort: 40_000, destinationPort: 80 }
  encodeTcp(
    { ...ports, sequence: 7, acknowledgment: 0, flags: TCP_FLAG.syn, window: 1000 },
    block,
    34,
  )
  new TcpView().at(block, 34, 20).fillChecksum(pseudoHeader4(u32(from), u32(to), 6, 20))
  return bytes
}

/** How many TCP segments leave the stack in answer to a SYN. */
async function answers(from: string, to: string): Promise<number> {
  const [link, wire] = memoryLinkPair({ delivery: 'sync' })
  await using stack = createStack(link, { addresses: ['198.18.0.1/24'] })
  await stack.network.listen({ ip: '0.0.0.0', port: 80 }, (stream) => stream.reset())
  let segments = 0
  const sink: FrameSink = {
    frame(block, offset, length) {
      const type = block.view.getUint16(offset + 12)
      if (type === 0x0800 && length > 34 && block.bytes[offset + 23] === 6) segments++
      // Whoever asks for the sender's MAC address is told, or no answer could leave.
      if (type === 0x0806) {
        const reply = block.bytes.slice(offset, offset + 42)
        const sender = reply.slice(22, 32)
        const asked = reply.slice(38, 42)
        reply.set(reply.subarray(6, 12), 0)
        reply.set([2, 0, 0, 0, 0, 9], 6)
        reply[21] = 2
        reply.set([2, 0, 0, 0, 0, 9], 22)
        reply.set(asked, 28)
        reply.set(sender, 32)
        send(reply)
      }
    },
    batchEnd() {},
    writable() {},
    stateChanged() {},
  }
  wire.attach(sink)
  function send(frame: Uint8Array): void {
    const room = wire.begin(frame.length)
    if (room === undefined) return
    room.block.bytes.set(frame, room.offset)
    wire.commit(frame.length)
    wire.flush()
  }
  send(syn(to.endsWith('.255') ? 'ff:ff:ff:ff:ff:ff' : stack.mac, from, to))
  for (let i = 0; i < 20; i++) await new Promise<void>((resolve) => void setImmediate(resolve))
  return segments
}

test('a SYN from a neighbor is answered, so that the others mean something', async () => {
  expect(await answers('198.18.0.9', '198.18.0.1')).toBe(1)
})

test.each(['255.255.255.255', '198.18.0.255', '224.0.0.1'])(
  'a SYN to %s is dropped silently',
  async (to) => {
    expect(await answers('198.18.0.9', to)).toBe(0)
  },
)

test.each(['255.255.255.255', '224.0.0.1', '127.0.0.1', '0.0.0.0'])(
  'a SYN from %s is dropped silently',
  async (from) => {
    expect(await answers(from, '198.18.0.1')).toBe(0)
  },
)

test.each(['255.255.255.255', '224.0.0.1'])('dialling %s is refused at once', async (ip) => {
  const [link] = memoryLinkPair()
  await using stack = createStack(link, { addresses: ['198.18.0.1/24'] })
  await expect(stack.network.connect({ ip, port: 80 })).rejects.toHaveProperty('code')
})
