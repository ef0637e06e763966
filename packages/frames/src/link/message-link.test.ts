import { MessageChannel, Worker } from 'node:worker_threads'
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { FrameLog, send, settle, testFrame } from '../../test/frame-log.ts'
import { ManualClock } from '../../test/manual-clock.ts'
import { messageLink, messagePort, webSocketPort, type FramePort } from './message-link.ts'

const open: { close(): unknown }[] = []
afterEach(() => {
  for (const each of open.splice(0)) each.close()
})

/** A port whose queue the test drains. */
class FakePort implements FramePort {
  queued = 0
  readonly sent: Uint8Array[] = []
  arrive: (bytes: Uint8Array) => void = () => {}
  hangUp: (cause?: unknown) => void = () => {}
  closes = 0

  send(bytes: Uint8Array): void {
    this.sent.push(bytes.slice())
    this.queued += bytes.length
  }

  onMessage(run: (bytes: Uint8Array) => void): void {
    this.arrive = run
  }

  onClose(run: (cause?: unknown) => void): void {
    this.hangUp = run
  }

  close(): void {
    this.closes++
  }
}

describe('a link over messages', () => {
  test('one message is one frame, both ways', () => {
    const port = new FakePort()
    const link = messageLink(port)
    const log = new FrameLog()
    link.attach(log)
    send(link, testFrame(0))
    send(link, testFrame(1, 99))
    expect(port.sent).toEqual([])
    link.flush()
    expect(port.sent).toEqual([testFrame(0), testFrame(1, 99)])
    port.arrive(testFrame(2))
    expect(log.frames).toEqual([testFrame(2)])
    expect(log.batches).toEqual([1])
  })

  test('a message is no frame when it is empty, too short or too long', () => {
    const port = new FakePort()
    const link = messageLink(port)
    const log = new FrameLog()
    link.attach(log)
    for (const length of [0, 13, 1519, 100_000]) port.arrive(new Uint8Array(length))
    port.arrive(testFrame(1))
    expect(link.stats().dropped).toMatchObject({ 'zero-length': 1, runt: 1, oversize: 2 })
    expect(log.frames).toEqual([testFrame(1)])
  })

  test('a port that does not send takes the credit; it returns when it has sent', async () => {
    const port = new FakePort()
    const clock = new ManualClock()
    const link = messageLink(port, { queueBytes: 10_000, clock })
    const log = new FrameLog()
    link.attach(log)
    let sent = 0
    while (send(link, testFrame(sent, 1000)) && sent < 1000) {
      link.flush()
      sent++
    }
    // 10,000 bytes with the port, and as much waiting for it.
    expect(sent).toBe(20)
    expect(port.sent).toHaveLength(10)
    port.queued = 0
    clock.advance(1)
    expect(port.sent).toHaveLength(20)
    expect(log.writables).toBe(1)
    await link.close()
    expect([port.closes, clock.pending]).toEqual([1, []])
  })

  test('messages that come while it is paused are counted, as a channel cannot be asked to wait', () => {
    const port = new FakePort()
    const link = messageLink(port)
    const log = new FrameLog()
    link.attach(log)
    link.pause()
    port.arrive(testFrame(0))
    link.resume()
    port.arrive(testFrame(1))
    expect(log.frames).toEqual([testFrame(1)])
    expect(link.stats().dropped).toMatchObject({ paused: 1 })
  })

  test('the end of the channel is the end of the link', () => {
    const port = new FakePort()
    const link = messageLink(port)
    const log = new FrameLog()
    link.attach(log)
    port.hangUp(new Error('gone'))
    expect(log.states).toEqual(['closed NETKIT_LINK_PEER_CLOSED'])
    port.arrive(testFrame(0))
    expect(log.frames).toEqual([])
  })
})

test('a MessagePort carries frames to and from a worker', async () => {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads')
     parentPort.on('message', (port) => port.on('message', (frame) => port.postMessage(frame)))`,
    { eval: true },
  )
  open.push({ close: () => void worker.terminate() })
  const { port1, port2 } = new MessageChannel()
  worker.postMessage(port2, [port2])
  const link = messageLink(messagePort(port1))
  const log = new FrameLog()
  const echoed = new Promise<void>((resolve) => {
    log.onFrame = (block, offset, length) => {
      log.frames.push(block.bytes.slice(offset, offset + length))
      if (log.frames.length === 20) resolve()
    }
  })
  link.attach(log)
  for (let i = 0; i < 20; i++) send(link, testFrame(i, 1514))
  link.flush()
  await echoed
  expect(log.frames).toEqual(Array.from({ length: 20 }, (_, i) => testFrame(i, 1514)))
  const closed = once(port1, 'close')
  await link.close()
  await closed
})

test('a WebSocket carries a frame per binary message, and text is ignored', async () => {
  const sent: Uint8Array[] = []
  const listeners: Record<string, (event: { data: unknown }) => void> = {}
  const socket = {
    binaryType: 'blob',
    bufferedAmount: 0,
    send: (data: Uint8Array) => sent.push(data),
    close: () => listeners['close']?.({ data: undefined }),
    addEventListener: (type: string, run: (event: { data: unknown }) => void) => {
      listeners[type] = run
    },
  }
  const link = messageLink(webSocketPort(socket))
  const log = new FrameLog()
  link.attach(log)
  expect(socket.binaryType).toBe('arraybuffer')
  send(link, testFrame(0))
  link.flush()
  // The slab is used again; what was handed to the socket must not change.
  send(link, testFrame(1))
  expect(sent).toEqual([testFrame(0)])
  listeners['message']?.({ data: testFrame(2).buffer })
  listeners['message']?.({ data: 'hello' })
  listeners['message']?.({ data: Buffer.from(testFrame(3)) })
  expect(log.frames).toEqual([testFrame(2), testFrame(3)])
  socket.close()
  await settle()
  expect(link.state).toBe('closed')
})
