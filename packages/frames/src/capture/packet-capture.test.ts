import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { blockOf } from '@netkit/core'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FrameLog, send, testFrame } from '../../test/frame-log.ts'
import { ManualClock } from '../../test/manual-clock.ts'
import { memoryLinkPair } from '../link/memory-link.ts'
import { captured, pcapFile, pcapRing, type CaptureFile } from './packet-capture.ts'
import { describeFrame } from './describe-frame.ts'
import { trace } from './trace.ts'

interface ReadBlock {
  type: number
  body: DataView
  options: Map<number, Uint8Array>
}

/** A reader of its own, so that writer and reader do not share a misunderstanding. */
function readBlocks(file: Uint8Array): ReadBlock[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const fixed: Record<number, number> = { 0x0a0d0d0a: 16, 1: 8, 5: 12 }
  const blocks: ReadBlock[] = []
  for (let at = 0; at < file.length;) {
    const type = view.getUint32(at, true)
    const total = view.getUint32(at + 4, true)
    expect(total % 4).toBe(0)
    expect(view.getUint32(at + total - 4, true)).toBe(total)
    const body = new DataView(file.buffer, file.byteOffset + at + 8, total - 12)
    let option = type === 6 ? 20 + Math.ceil(body.getUint32(12, true) / 4) * 4 : (fixed[type] ?? 0)
    const options = new Map<number, Uint8Array>()
    while (option < body.byteLength) {
      const code = body.getUint16(option, true)
      const length = body.getUint16(option + 2, true)
      if (code === 0) break
      options.set(code, file.slice(at + 8 + option + 4, at + 8 + option + 4 + length))
      option += 4 + Math.ceil(length / 4) * 4
    }
    blocks.push({ type, body, options })
    at += total
  }
  return blocks
}

class MemoryFile implements CaptureFile {
  readonly parts: Uint8Array[] = []
  queued = 0

  write(bytes: Uint8Array): void {
    this.parts.push(bytes)
  }

  get bytes(): Uint8Array {
    return Uint8Array.from(Buffer.concat(this.parts))
  }
}

const asText = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString()

test('a file has a section, its interfaces by name, packets with ns times, directions and comments, and statistics', () => {
  const clock = new ManualClock()
  const file = new MemoryFile()
  const capture = pcapFile(file, { clock })
  const [vm1, vm2] = [capture.addInterface('vm1'), capture.addInterface('vm2 – zwei')]
  clock.advance(1.25)
  capture.record(vm1, 'in', blockOf(testFrame(0, 61)), 0, 61)
  capture.record(vm2, 'out', blockOf(testFrame(1, 100)), 10, 60, 'rule 7: allow')
  capture.close()
  capture.close()
  const [section, one, two, first, second, ...statistics] = readBlocks(file.bytes)
  expect(section?.body.getUint32(0, true)).toBe(0x1a2b3c4d)
  expect(asText(section?.options.get(4))).toBe('netkit')
  expect([one, two].map((each) => asText(each?.options.get(2)))).toEqual(['vm1', 'vm2 – zwei'])
  expect(one?.options.get(9)).toEqual(Uint8Array.of(9))
  expect(one?.body.getUint16(0, true)).toBe(1)
  const nanoseconds =
    (BigInt(first?.body.getUint32(4, true) ?? 0) << 32n) +
    BigInt(first?.body.getUint32(8, true) ?? 0)
  expect(nanoseconds).toBe(1_700_000_000_001_250_000n)
  expect([first?.body.getUint32(12, true), first?.body.getUint32(16, true)]).toEqual([61, 61])
  expect(first?.options.get(2)).toEqual(Uint8Array.of(1, 0, 0, 0))
  expect(second?.body.getUint32(0, true)).toBe(vm2)
  expect(second?.options.get(2)).toEqual(Uint8Array.of(2, 0, 0, 0))
  expect(asText(second?.options.get(1))).toBe('rule 7: allow')
  const data = second && new Uint8Array(second.body.buffer, second.body.byteOffset + 20, 60)
  expect(data).toEqual(testFrame(1, 100).slice(10, 70))
  expect(statistics.map(({ type }) => type)).toEqual([5, 5])
})

test('any packets, lengths and comments give blocks that parse back', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.option(fc.string())), {
        maxLength: 60,
      }),
      fc.integer({ min: 1, max: 2000 }),
      (packets, snapLength) => {
        const file = new MemoryFile()
        const ring = pcapRing({ snapLength })
        const capture = pcapFile(file, { snapLength, clock: new ManualClock() })
        for (const each of [capture, ring]) {
          each.addInterface('vm')
          for (const [length, comment] of packets) {
            each.record(0, 'in', blockOf(testFrame(1, length)), 0, length, comment ?? undefined)
          }
        }
        capture.close()
        for (const bytes of [file.bytes, ring.snapshot()]) {
          const read = readBlocks(bytes).filter(({ type }) => type === 6)
          expect(read.map(({ body }) => body.getUint32(16, true))).toEqual(packets.map(([n]) => n))
          for (const [i, { body, options }] of read.entries()) {
            const [length = 0, comment = null] = packets[i] ?? []
            expect(body.getUint32(12, true)).toBe(Math.min(length, snapLength))
            expect(asText(options.get(1))).toBe(Buffer.from(comment ?? '').toString())
          }
        }
      },
    ),
    { numRuns: 50 },
  )
})

test('a file is handed over after half a second, and at 64 KiB', () => {
  const clock = new ManualClock()
  const file = new MemoryFile()
  const capture = pcapFile(file, { clock })
  capture.addInterface('vm')
  clock.advance(499)
  expect(file.parts).toHaveLength(0)
  clock.advance(1)
  expect(file.parts).toHaveLength(1)
  for (let i = 0; i < 50; i++) capture.record(0, 'in', blockOf(testFrame(i, 1514)), 0, 1514)
  expect(file.parts).toHaveLength(2)
  capture.close()
  expect(clock.pending).toEqual([])
})

test('a disk that does not keep up costs packets, by count, and the file says so', () => {
  const file = new MemoryFile()
  const capture = pcapFile(file, { clock: new ManualClock() })
  capture.addInterface('vm')
  capture.record(0, 'in', blockOf(testFrame(0)), 0, 60)
  file.queued = 2 ** 24
  capture.record(0, 'in', blockOf(testFrame(1)), 0, 60)
  expect(capture.stats()).toEqual({ packets: 1, dropped: 1 })
  capture.close()
  const statistics = readBlocks(file.bytes).at(-1)
  expect(statistics?.options.get(4)).toEqual(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0))
  expect(statistics?.options.get(5)).toEqual(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
})

test('a ring keeps the newest packets within its bound', () => {
  const ring = pcapRing({ bytes: 1024 * 1024 })
  ring.addInterface('vm')
  for (let i = 0; i < 5000; i++) ring.record(0, 'in', blockOf(testFrame(i, 1514)), 0, 1514)
  const { packets, evicted } = ring.stats()
  expect(packets + evicted).toBe(5000)
  const snapshot = ring.snapshot()
  expect(snapshot.length).toBeLessThan(1024 * 1024 + 200)
  expect(snapshot.length).toBeGreaterThan(800 * 1024)
  const read = readBlocks(snapshot).filter(({ type }) => type === 6)
  expect(read).toHaveLength(packets)
  const last = read.at(-1)
  expect(last && new Uint8Array(last.body.buffer, last.body.byteOffset + 20, 1514)).toEqual(
    testFrame(4999, 1514),
  )
})

test('a captured link records what passes, both ways, also frames of two parts', () => {
  const ring = pcapRing()
  const [a, b] = memoryLinkPair({ delivery: 'sync' })
  const log = new FrameLog()
  b.attach(log)
  const link = captured(a, ring, { name: 'vm', comment: (direction) => `went ${direction}` })
  const near = new FrameLog()
  link.attach(near)
  send(link, testFrame(0))
  const room = link.begin(14)
  room?.block.bytes.set(testFrame(1, 14), room.offset)
  link.commitWith(14, blockOf(testFrame(2)), 0, 60)
  link.flush()
  send(b, testFrame(3))
  b.flush()
  expect([log.frames.length, near.frames]).toEqual([2, [testFrame(3)]])
  const packets = readBlocks(ring.snapshot()).filter(({ type }) => type === 6)
  expect(packets.map(({ body }) => body.getUint32(16, true))).toEqual([60, 74, 60])
  expect(packets.map(({ options }) => asText(options.get(1)))).toEqual([
    'went out',
    'went out',
    'went in',
  ])
  const joined = packets[1]
  expect(joined && new Uint8Array(joined.body.buffer, joined.body.byteOffset + 20, 74)).toEqual(
    Uint8Array.from([...testFrame(1, 14), ...testFrame(2)]),
  )
})

const why = spawnSync('tshark', ['--version']).status === 0 ? undefined : 'tshark is not installed'
const needed = { skip: why !== undefined, meta: { skipReason: why } }

test('tshark reads names, comments, times and frames', needed, () => {
  const folder = mkdtempSync(join(tmpdir(), 'netkit-pcap-'))
  try {
    const ring = pcapRing({ clock: new ManualClock() })
    ring.addInterface('vm1')
    const id = ring.addInterface('vm2')
    ring.record(id, 'in', blockOf(testFrame(0, 99)), 0, 99, 'hello comment')
    const path = join(folder, 'ring.pcapng')
    writeFileSync(path, ring.snapshot())
    const fields = ['frame.interface_name', 'frame.comment', 'frame.len', 'frame.time_epoch']
    const { stdout, stderr } = spawnSync(
      'tshark',
      ['-r', path, '-Tfields', ...fields.flatMap((field) => ['-e', field])],
      { encoding: 'utf8' },
    )
    expect(`${stdout}${stderr.includes('malformed') ? stderr : ''}`).toBe(
      'vm2\thello comment\t99\t1700000000.000000000\n',
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a trace has a line per frame and per change of state', async () => {
  const lines: string[] = []
  const clock = new ManualClock()
  const [a, b] = memoryLinkPair({ delivery: 'sync' })
  const link = trace(a, { name: 'vm1', clock, line: (text) => lines.push(text) })
  link.attach(new FrameLog())
  const arp = Buffer.from(
    'ffffffffffff0200000000010806000108000604000102000000000100000000000000000000c0a84101',
    'hex',
  )
  clock.advance(2.5)
  send(link, arp)
  send(b, arp)
  b.flush()
  await b.close()
  expect(lines).toEqual([
    'vm1      2.500 > 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff ARP who has 192.168.65.1, tell 0.0.0.0',
    'vm1      2.500 < 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff ARP who has 192.168.65.1, tell 0.0.0.0',
    expect.stringContaining('= closed: The other end'),
  ])
})

test.each([
  [
    'TCP',
    '0200000000020200000000010800450000280001000040060000c0a84103c0000201c00100500000000a0000000b50120fa000000000',
    '192.168.65.3:49153 > 192.0.2.1:80 TCP SYN ACK seq 10 ack 11 win 4000, 0 bytes',
  ],
  [
    'UDP',
    '02000000000202000000000108004500001d0001000040110000c0a84103c0000201c00100350009000041',
    '192.168.65.3:49153 > 192.0.2.1:53 UDP, 1 bytes',
  ],
  [
    'ICMP',
    '02000000000202000000000108004500001c0001000040010000c0a84103c0a84101080000000007000a',
    '192.168.65.3 > 192.168.65.1 ICMP type 8 code 0 echo request id 7 seq 10',
  ],
  [
    'ICMPv6',
    '3333ff00000102000000000286dd6000000000083afffe800000000000000000000000000002ff0200000000000000000001ff000001870000000000000000000000',
    'fe80::2 > ff02::1:ff00:1 ICMPv6 type 135 code 0 neighbor solicit',
  ],
  ['another type', `0200000000020200000000018899${'00'.repeat(46)}`, 'type 0x8899, 46 bytes'],
])('a frame in one line: %s', (_name, hex, expected) => {
  const frame = Buffer.from(hex, 'hex')
  expect(describeFrame(blockOf(frame), 0, frame.length)).toContain(expected)
})

test('describing random bytes never throws', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 120 }),
      fc.constantFrom('0800', '0806', '86dd', '8100'),
      (bytes, type) => {
        const frame = Uint8Array.from(bytes)
        if (frame.length > 13) frame.set(Buffer.from(type, 'hex'), 12)
        expect(describeFrame(blockOf(frame), 0, frame.length)).not.toBe('')
      },
    ),
  )
})
