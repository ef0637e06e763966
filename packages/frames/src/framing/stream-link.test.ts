import { blockOf, type Block } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameLog, send, settle, testFrame } from '../../test/frame-log.ts'
import { ByteCollector, streamPair, type TestStream } from '../../test/stream-pair.ts'
import { u16le, u32be, type Framing } from './framing.ts'
import { streamLink, type StreamLinkOptions } from './stream-link.ts'

function prefixed(framing: Framing, length: number, frame: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(framing.prefix + frame.length)
  const view = new DataView(bytes.buffer)
  if (framing.prefix === 4) view.setUint32(0, length, framing.littleEndian)
  else view.setUint16(0, length, framing.littleEndian)
  bytes.set(frame, framing.prefix)
  return bytes
}

const encode = (framing: Framing, frame: Uint8Array): Uint8Array =>
  prefixed(framing, frame.length, frame)

function writeBytes(stream: TestStream, ...parts: Uint8Array[]): void {
  for (const part of parts) stream.write(blockOf(part), 0, part.length)
}

function guest(options: StreamLinkOptions = {}, chunk?: () => number) {
  const [near, far] = streamPair(chunk ? { chunk } : {})
  const link = streamLink(near, options)
  const log = new FrameLog()
  link.attach(log)
  return { near, far, link, log, framing: options.framing ?? u32be }
}

describe.each([u32be, u16le])('stream link, $name', (framing) => {
  test('any chunking gives the same frames', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 14, max: 1514 }), { maxLength: 40 }),
        fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 1, maxLength: 20 }),
        async (lengths, cuts) => {
          let i = 0
          const { far, log } = guest({ framing }, () => cuts[i++ % cuts.length] ?? 1)
          const frames = lengths.map((length, index) => testFrame(index, length))
          writeBytes(far, ...frames.map((frame) => encode(framing, frame)))
          await settle()
          expect(log.frames).toEqual(frames)
        },
      ),
      { numRuns: 60 },
    )
  })

  test.each([1, 7])('%i-byte reads', async (size) => {
    const { far, log } = guest({ framing }, () => size)
    const frames = [60, 1514, 14].map((length, i) => testFrame(i, length))
    writeBytes(far, ...frames.map((frame) => encode(framing, frame)))
    await settle()
    expect(log.frames).toEqual(frames)
  })

  test('1000 frames in one read are one batch', async () => {
    const { far, log } = guest({ framing })
    const bytes = new Uint8Array(1000 * (framing.prefix + 60))
    for (let i = 0; i < 1000; i++) {
      bytes.set(encode(framing, testFrame(i)), i * (framing.prefix + 60))
    }
    writeBytes(far, bytes)
    await settle()
    expect(log.batches).toEqual([1000])
    expect(log.frames[999]).toEqual(testFrame(999))
  })

  test('what one link writes another reads, with one system call per flush', async () => {
    const [near, far] = streamPair()
    const sender = streamLink(near, { framing, mtu: 9000 })
    const receiver = streamLink(far, { framing, mtu: 9000 })
    const log = new FrameLog()
    receiver.attach(log)
    const payload = blockOf(testFrame(5, 8000))
    const expected: Uint8Array[] = []
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 20; i++) {
        expected.push(testFrame(i, 14 + i * 70))
        expect(send(sender, testFrame(i, 14 + i * 70))).toBe(true)
      }
      const room = sender.begin(58)
      room?.block.bytes.set(testFrame(round, 58), room.offset)
      payload.pin()
      sender.commitWith(58, payload, 16, 7000)
      expected.push(Uint8Array.from([...testFrame(round, 58), ...payload.bytes.slice(16, 7016)]))
      sender.flush()
      await settle()
    }
    expect(log.frames).toEqual(expected)
    expect(near.writes).toBe(10)
    expect(payload.pins).toBe(1)
    expect(receiver.stats()).toMatchObject({ framesIn: 210, bytesIn: sender.stats().bytesOut })
  })

  test('a flush with nothing to send writes nothing', async () => {
    const { near, link } = guest({ framing })
    link.flush()
    await settle()
    expect(near.writes).toBe(0)
  })

  test('a length of 0 and a runt are counted, and the next frame is delivered', async () => {
    const { far, log, link } = guest({ framing })
    writeBytes(far, prefixed(framing, 0, new Uint8Array()), encode(framing, testFrame(0, 13)))
    writeBytes(far, encode(framing, testFrame(0, 1)), encode(framing, testFrame(1)))
    await settle()
    expect(log.frames).toEqual([testFrame(1)])
    expect(link.stats().dropped).toMatchObject({
      'zero-length': 1,
      runt: 2,
      oversize: 0,
      truncated: 0,
    })
  })

  test('a frame over the MTU is counted, and the next one is delivered', async () => {
    const { far, log, link } = guest({ framing })
    const longest = testFrame(2, 1518)
    for (const frame of [testFrame(0, 9014), testFrame(0, 65_534), testFrame(0, 1519), longest]) {
      writeBytes(far, encode(framing, frame))
    }
    await settle()
    expect(log.frames).toEqual([longest])
    expect(link.stats().dropped).toMatchObject({ oversize: 3 })
  })

  test('the longest frame of the largest MTU passes both ways', async () => {
    const [near, far] = streamPair()
    const mtu = 65_520
    const [a, b] = [streamLink(near, { framing, mtu }), streamLink(far, { framing, mtu })]
    const log = new FrameLog()
    b.attach(log)
    for (let i = 0; i < 30; i++) {
      expect(send(a, testFrame(i, mtu + 14))).toBe(true)
      a.flush()
      await settle()
    }
    expect(log.frames).toEqual(Array.from({ length: 30 }, (_, i) => testFrame(i, mtu + 14)))
  })

  test('half a frame at disconnect is counted, and the link closes with a reason', async () => {
    const { near, far, log, link } = guest({ framing })
    writeBytes(far, encode(framing, testFrame(0)), encode(framing, testFrame(1)).slice(0, 20))
    far.end()
    await settle()
    expect(log.frames).toEqual([testFrame(0)])
    expect(link.stats().dropped).toMatchObject({ truncated: 1 })
    expect(log.states).toEqual(['closed NETKIT_LINK_PEER_CLOSED'])
    expect(near.isClosed).toBe(true)
  })
})

test.each([65_539, 65_550, 0x7fffffff, 0xffffffff])(
  'a length of %i closes the connection with a typed error',
  async (length) => {
    const { near, far, log } = guest()
    writeBytes(far, encode(u32be, testFrame(0)), prefixed(u32be, length, testFrame(1)))
    writeBytes(far, encode(u32be, testFrame(2)))
    await settle()
    expect(log.frames).toEqual([testFrame(0)])
    expect(log.states).toEqual(['closed NETKIT_FRAME_TOO_LONG'])
    expect(log.cause?.message).toContain(String(length))
    expect(near.isClosed).toBe(true)
  },
)

test('a reset by the peer closes the link with the socket’s error as cause', async () => {
  const { far, log } = guest()
  far.reset()
  await settle()
  expect(log.states).toEqual(['closed NETKIT_LINK_PEER_CLOSED'])
  expect(log.cause?.cause).toMatchObject({ code: 'ECONNRESET' })
})

test('random bytes never throw: the link stays up or closes on purpose', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), async (bytes) => {
      const { far, log } = guest({}, () => 100)
      if (bytes.length > 0) writeBytes(far, bytes)
      await settle()
      expect([[], ['closed NETKIT_FRAME_TOO_LONG']]).toContainEqual(log.states)
    }),
    { numRuns: 60 },
  )
})

test('a peer that never reads: credit ends within the bound, memory stays, and credit returns with reading', async () => {
  const { far, link, log } = guest({ queueBytes: 256 * 1024 })
  expect(link.credit).toBeGreaterThan(250 * 1024)
  let sent = 0
  for (let i = 0; i < 10_000; i++) {
    if (!send(link, testFrame(i, 1514))) break
    link.flush()
    sent++
  }
  await settle()
  expect(sent).toBe(Math.floor((256 * 1024) / 1518))
  expect(link.credit).toBeLessThan(1518)
  expect(log.writables).toBe(0)
  const block = blockOf(new Uint8Array(64 * 1024))
  const collector = new ByteCollector(block)
  far.read(collector)
  await settle()
  expect(log.writables).toBe(1)
  expect(collector.bytes.length).toBe(sent * 1518)
  for (let i = 0; i < sent; i++) {
    expect(collector.bytes.subarray(i * 1518 + 4, (i + 1) * 1518)).toEqual(testFrame(i, 1514))
  }
})

test('blocks that the sink keeps are not read into: an empty ring stops reading until one is let go', async () => {
  const { far, link, log } = guest({ readBlocks: 2 })
  const kept: { block: Block; offset: number; length: number }[] = []
  log.onFrame = (block, offset, length) => {
    block.pin()
    kept.push({ block, offset, length })
  }
  const total = 1200
  for (let i = 0; i < total; i++) writeBytes(far, encode(u32be, testFrame(i, 1000)))
  await settle()
  const read = kept.length
  expect(read).toBeLessThan(total)
  // The first block is left with a quarter free, the last one is filled to its end.
  expect(read).toBeGreaterThan(450)
  for (let i = 0; kept.length > 0; i++) {
    const frame = kept.shift()
    if (frame === undefined) break
    const { block, offset, length } = frame
    expect(block.bytes.slice(offset, offset + length)).toEqual(testFrame(i, 1000))
    block.unpin()
    if (kept.length === 0) await settle()
  }
  expect(link.stats().framesIn).toBe(total)
})

test('a paused link stops reading, and the frames wait in the stream', async () => {
  const { far, link, log } = guest()
  link.pause()
  await settle()
  for (let i = 0; i < 2000; i++) writeBytes(far, encode(u32be, testFrame(i, 1000)))
  await settle()
  // Room that was given out before the pause may still be filled.
  expect(log.frames.length).toBeLessThan(300)
  expect(far.queued).toBeGreaterThan(1_600_000)
  link.resume()
  await settle()
  expect(log.frames).toHaveLength(2000)
})

test('closing drops what is queued and resets the stream', async () => {
  const { near, link, log } = guest()
  send(link, testFrame(0))
  link.flush()
  await link.close()
  await link.close()
  expect(near.isClosed).toBe(true)
  expect(log.states).toEqual(['closed'])
  expect(link.credit).toBe(0)
  expect(link.begin(60)).toBeUndefined()
})

test('blocks come from the memory that was given', async () => {
  let allocated = 0
  const memory = {
    allocate: (bytes: number) => {
      allocated += bytes
      return new Uint8Array(bytes)
    },
    release: () => {},
  }
  const { far, link } = guest({ memory })
  send(link, testFrame(0))
  writeBytes(far, encode(u32be, testFrame(0)))
  await settle()
  expect(allocated).toBe(64 * 1024 + 256 * 1024)
})
