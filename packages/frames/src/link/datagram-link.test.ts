import { socketError } from '@netkit/core'
import type { Block, DatagramFailure, DatagramPort, IpEndpoint } from '@netkit/core'
import { expect, test } from 'vitest'
import { FrameLog, send, testFrame } from '../../test/frame-log.ts'
import { ManualClock } from '../../test/manual-clock.ts'
import { datagramLink, type DatagramLinkOptions } from './datagram-link.ts'

const qemu: IpEndpoint = { ip: '127.0.0.1', port: 5001 }

class FakePort implements DatagramPort {
  readonly local = { ip: '127.0.0.1', port: 5000 }
  readonly connected: IpEndpoint | undefined
  queued = 0
  readonly sent: { bytes: Uint8Array; to: IpEndpoint | undefined }[] = []
  closes = 0
  #message: ((bytes: Uint8Array, from: IpEndpoint) => void) | undefined
  #error: ((failure: DatagramFailure) => void) | undefined

  constructor(connected?: IpEndpoint) {
    this.connected = connected
  }

  onMessage(run: ((bytes: Uint8Array, from: IpEndpoint) => void) | undefined): void {
    this.#message = run
  }

  onError(run: ((failure: DatagramFailure) => void) | undefined): void {
    this.#error = run
  }

  /** A datagram in memory that is used again for the next one. */
  arrive(bytes: Uint8Array, from: IpEndpoint = qemu): void {
    const borrowed = bytes.slice()
    this.#message?.(borrowed, from)
    borrowed.fill(0xee)
  }

  fail(error: Error): void {
    this.#error?.({ error })
  }

  send(block: Block, offset: number, length: number, to?: IpEndpoint): void {
    this.sent.push({ bytes: block.bytes.slice(offset, offset + length), to })
    this.queued += length
    block.unpin()
  }

  close(): Promise<void> {
    this.closes++
    return Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function linked(options: DatagramLinkOptions = {}, port: FakePort = new FakePort()) {
  const link = datagramLink(port, options)
  const log = new FrameLog()
  link.attach(log)
  return { port, link, log }
}

test('one datagram is one frame, both ways', () => {
  const { port, link, log } = linked({ peer: qemu })
  send(link, testFrame(0, 1514))
  send(link, testFrame(1))
  link.flush()
  expect(port.sent).toEqual([
    { bytes: testFrame(0, 1514), to: qemu },
    { bytes: testFrame(1), to: qemu },
  ])
  port.arrive(testFrame(2))
  port.arrive(testFrame(3, 1514))
  expect(log.frames).toEqual([testFrame(2), testFrame(3, 1514)])
  expect(link.stats()).toMatchObject({ framesIn: 2, framesOut: 2, bytesIn: 1574 })
})

test('without a peer there is no credit; the first frame tells who it is', () => {
  const { port, link, log } = linked()
  expect([link.credit, link.begin(60)]).toEqual([0, undefined])
  port.arrive(testFrame(0))
  expect(link.peer).toEqual(qemu)
  expect(log.writables).toBe(1)
  send(link, testFrame(1))
  link.flush()
  expect(port.sent[0]?.to).toEqual(qemu)
})

test('a stranger’s datagrams are counted, before and after the peer is known', () => {
  const stranger = { ip: '127.0.0.1', port: 6666 }
  const { port, link, log } = linked()
  port.arrive(testFrame(0))
  port.arrive(testFrame(1), stranger)
  port.arrive(testFrame(2), { ip: '127.0.0.2', port: qemu.port })
  expect(log.frames).toEqual([testFrame(0)])
  expect(link.stats().dropped).toMatchObject({ stranger: 2 })
})

test('a connected port is sent to without an address', () => {
  const { port, link } = linked({}, new FakePort(qemu))
  send(link, testFrame(0))
  link.flush()
  expect(port.sent[0]?.to).toBeUndefined()
  expect(link.peer).toEqual(qemu)
})

test('a frame that the sink keeps survives the next datagrams', () => {
  const { port, log } = linked({ peer: qemu })
  const kept: { block: Block; offset: number }[] = []
  log.onFrame = (block, offset) => {
    block.pin()
    kept.push({ block, offset })
  }
  for (let i = 0; i < 500; i++) port.arrive(testFrame(i, 1000))
  for (const [i, { block, offset }] of kept.entries()) {
    expect(block.bytes.slice(offset, offset + 1000)).toEqual(testFrame(i, 1000))
  }
})

test('a sink that keeps everything loses frames by count, not memory', () => {
  const { port, link, log } = linked({ peer: qemu })
  const kept: Block[] = []
  log.onFrame = (block) => {
    block.pin()
    kept.push(block)
  }
  for (let i = 0; i < 3000; i++) port.arrive(testFrame(i, 1514))
  const { 'no-memory': noMemory = 0 } = link.stats().dropped
  expect(noMemory).toBeGreaterThan(1000)
  expect(kept.length + noMemory).toBe(3000)
  for (const block of kept) block.unpin()
  port.arrive(testFrame(0))
  expect(kept.length + noMemory).toBe(3001)
})

test('datagrams that are no frames are counted', () => {
  const { port, link, log } = linked({ peer: qemu })
  for (const length of [0, 13, 1519, 65_507]) port.arrive(new Uint8Array(length))
  expect(log.frames).toEqual([])
  expect(link.stats().dropped).toMatchObject({ 'zero-length': 1, runt: 1, oversize: 2 })
})

test('a kernel that takes nothing ends the credit; it is asked again each ms', async () => {
  const clock = new ManualClock()
  const { port, link, log } = linked({ peer: qemu, queueBytes: 10_000, clock })
  let sent = 0
  while (send(link, testFrame(sent, 1000)) && sent < 1000) {
    link.flush()
    sent++
  }
  expect([sent, port.sent.length]).toEqual([20, 10])
  clock.advance(5)
  expect(port.sent).toHaveLength(10)
  port.queued = 0
  clock.advance(1)
  expect(port.sent).toHaveLength(20)
  expect(log.writables).toBe(1)
  await link.close()
  expect([port.closes, clock.pending.length]).toEqual([1, 0])
})

test('refused datagrams are counted, and the link stays up', () => {
  const { port, link } = linked({ peer: qemu })
  port.fail(socketError('ECONNREFUSED', { syscall: 'send' }))
  expect([link.refused, link.state]).toEqual([1, 'up'])
})
