/** Bytes written past Node's Writable: the same ones arrive, their memory is let go of when it may be, and errors are Node's. */

import { createHash } from 'node:crypto'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BlockPool } from '../block.ts'
import type { Block } from '../block.ts'
import type { ByteStream } from '../byte-stream.ts'
import { handleWriter, proveHandles } from './handle-writer.ts'
import { hostNetwork } from './host-network.ts'

beforeAll(async () => {
  await proveHandles()
})

const server = createServer({ allowHalfOpen: true, pauseOnConnect: true })
afterAll(() => server.close())

/** Where the server listens. */
async function port(): Promise<number> {
  if (!server.listening)
    await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0 }, resolve))
  return (server.address() as AddressInfo).port
}

/** The two ends of a connection, the accepted one paused. */
async function sockets(): Promise<{ near: Socket; far: Socket }> {
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
  const near = connect({ host: '127.0.0.1', port: await port(), allowHalfOpen: true })
  await new Promise((resolve) => near.once('connect', resolve))
  return { near, far: await accepted }
}

/** Blocks that are overwritten as soon as they are let go of. */
class PoisonedPool extends BlockPool {
  out = 0
  override take(): Block {
    this.out++
    return super.take()
  }
  override recycle(block: Block): void {
    this.out--
    block.bytes.fill(0xee)
    super.recycle(block)
  }
}

/** Writes as a splice does: until too much is queued, then on each drain. Resolves when all is written. */
function pour(stream: ByteStream, pool: PoisonedPool, total: number): Promise<string> {
  const hash = createHash('sha256')
  let written = 0
  let done = false
  return new Promise((resolve) => {
    const more = (): void => {
      while (written < total && stream.queued < 1024 * 1024) {
        const block = pool.take()
        for (let i = 0; i < block.length; i += 7) block.bytes[i] = (written + i) & 255
        const length = Math.min(block.length - (written % 1000), total - written)
        hash.update(block.bytes.subarray(0, length))
        written += length
        // May call `more` from within.
        stream.write(block, 0, length)
      }
      if (written < total || stream.queued > 0 || done) return
      done = true
      resolve(hash.digest('hex'))
    }
    stream.onDrain(more)
    more()
  })
}

test.each(['auto', 'stream'] as const)(
  'a slow sink gets every byte although blocks are used again at once, writes: %s',
  async (writes) => {
    const network = hostNetwork({ writes })
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
    const stream = await network.connect({ ip: '127.0.0.1', port: await port() })
    const far = await accepted
    const received = createHash('sha256')
    let bytes = 0
    const ended = new Promise((resolve) => far.once('end', resolve))
    far.on('data', (chunk: Buffer) => {
      received.update(chunk)
      bytes += chunk.length
      // The reader falls behind again and again.
      far.pause()
      void turn().then(() => far.resume())
    })
    far.resume()
    const pool = new PoisonedPool({ size: 64 * 1024, keep: 4 })
    const sent = await pour(stream, pool, 24 * 1024 * 1024 + 1)
    stream.end()
    await ended
    expect(pool.out).toBe(0)
    expect(received.digest('hex')).toBe(sent)
    expect(bytes).toBe(24 * 1024 * 1024 + 1)
    far.destroy()
    stream.reset()
    await stream.closed
  },
)

test('what the kernel does not take waits, and its end is told', async () => {
  const { near, far } = await sockets()
  const writer = handleWriter(near)
  expect(writer?.write([new Uint8Array(10)])).toBe('written')
  const ended = new Promise<void>((resolve) => {
    if (writer) writer.onWritten = resolve
  })
  const large = new Uint8Array(32 * 1024 * 1024)
  expect(writer?.write([large, new Uint8Array(1)])).toBe('waits')
  expect(writer?.queued).toBeGreaterThan(0)
  let received = 0
  far.on('data', (chunk: Buffer) => (received += chunk.length)).resume()
  await ended
  expect(writer?.queued).toBe(0)
  near.end()
  await new Promise((resolve) => far.once('end', resolve))
  expect(received).toBe(10 + large.length + 1)
  near.destroy()
  far.destroy()
})

test('a peer that is gone: the socket fails as Node says, and so does every later write', async () => {
  const { near, far } = await sockets()
  const writer = handleWriter(near)
  const failed = new Promise<NodeJS.ErrnoException>((resolve) => near.once('error', resolve))
  const waits = writer?.write([new Uint8Array(32 * 1024 * 1024)])
  far.resetAndDestroy()
  const error = await failed
  expect([waits, error.code]).toEqual(['waits', 'ECONNRESET'])
  expect(writer?.write([new Uint8Array(1)])).toBe('failed')
})

test('a socket without a handle that is known has no writer', () => {
  expect(handleWriter({ _handle: { writeBuffer() {} } } as unknown as Socket)).toBe(undefined)
  expect(handleWriter({ _handle: null } as unknown as Socket)).toBe(undefined)
})
