/** What every `ByteStream` must do, whichever network it came from. */

import { blockOf } from '../block.ts'
import type { ByteStream } from '../byte-stream.ts'
import { chunks, readAll, writeAll } from '../byte-stream-io.ts'
import { assert, assertEqual, Deferred, rejection } from './expectations.ts'
import { decode, encode, endedByPeer, send, Sip, textOf, withPair } from './stream-pair.ts'
import type { StreamCases } from './stream-pair.ts'
import { PatternReader, PoisonedBlocks, turns, writePattern } from './stream-tools.ts'

/** Exactly one direction at a time: `first` ends, `second` answers long after. */
async function halfClose(first: ByteStream, second: ByteStream): Promise<void> {
  send(first, 'last words')
  first.end()
  assertEqual(await textOf(second), 'last words', 'bytes before FIN')
  const reading = textOf(first)
  await writeAll(second, encode('a'.repeat(300_000)))
  await turns(2)
  await writeAll(second, encode('z'))
  second.end()
  const answer = await reading
  assertEqual(answer.length, 300_001, 'bytes after the other direction ended')
  assert(answer.endsWith('az'), 'the answer is whole')
  assertEqual((await first.closed).kind, 'fin', 'how the first side closed')
  assertEqual(await first.closed, { kind: 'fin', by: 'local' }, 'who ended, seen by the first side')
  assertEqual(await second.closed, { kind: 'fin', by: 'remote' }, 'who ended, seen by the second')
}

async function resetSeen(by: ByteStream, other: ByteStream): Promise<void> {
  send(other, 'x')
  by.reset()
  assertEqual(await by.closed, { kind: 'reset', by: 'local' }, 'the side that reset')
  const failure = await rejection(readAll(other), 'reading from a stream that was reset')
  assertEqual((failure as { code?: string }).code, 'ECONNRESET', "the reader's error")
  const reason = await other.closed
  assertEqual([reason.kind, reason.by], ['reset', 'remote'], 'the other side')
}

/** 10 MB, 8 KiB now and then, from blocks that are overwritten once released. */
async function slowReader(from: ByteStream, to: ByteStream): Promise<void> {
  const total = 10_000_000
  const blocks = new PoisonedBlocks(64 * 1024)
  const reader = new PatternReader(to, 8192)
  const writing = writeThenEnd()
  await turns(20)
  assert(from.queued > 0, 'a reader that does not read must be felt by the writer')
  while (!reader.ended) {
    await reader.read(100)
    await turns(2)
  }
  await writing
  assertEqual(reader.received, total, 'bytes received')
  assertEqual(from.queued, 0, 'bytes queued in the end')
  to.end()
  from.read(new Sip(1))
  await from.closed
  assertEqual(blocks.outstanding, 0, 'blocks still held after close')

  async function writeThenEnd(): Promise<void> {
    await writePattern(from, total, blocks, 512 * 1024)
    from.end()
  }
}

/** `reader` has ended long ago; what `writer` sends last waits for it. */
async function lastBytes(reader: ByteStream, writer: ByteStream): Promise<void> {
  reader.end()
  assertEqual(await textOf(writer), '', 'bytes of the side that only reads')
  const sip = new Sip(10)
  reader.read(sip)
  await writeAll(writer, encode('0123456789'.repeat(500)))
  writer.end()
  assertEqual(decode(await sip.got.promise), '0123456789', 'the first room')
  await turns(10)
  assertEqual((await textOf(reader)).length, 4990, 'what waited')
  assertEqual((await reader.closed).kind, 'fin', 'how it closed')
}

function readAllLater(stream: ByteStream): { start(): void; readonly bytes: Promise<Uint8Array> } {
  const bytes = new Deferred<Uint8Array>()
  return {
    start: () => void readAll(stream).then(bytes.resolve),
    bytes: bytes.promise,
  }
}

/** Order, half-close, reset, back-pressure, bytes put back, cork and close. */
export const streamCases: StreamCases = {
  'carries bytes both ways, in order': (subject) =>
    withPair(subject, async ({ client, server }) => {
      const total = 300_000
      const exchange = async (a: ByteStream, b: ByteStream): Promise<void> => {
        const reader = new PatternReader(b, 5000)
        const writing = writePattern(a, total, new PoisonedBlocks(3333), 100_000)
        while (reader.received < total) await reader.read(1)
        await writing
      }
      await Promise.all([exchange(client, server), exchange(server, client)])
    }),

  'FIN of the dialer leaves the other direction open': (subject) =>
    withPair(subject, ({ client, server }) => halfClose(client, server)),

  'FIN of the acceptor leaves the other direction open': (subject) =>
    withPair(subject, ({ client, server }) => halfClose(server, client)),

  'reset by the dialer reaches the acceptor': (subject) =>
    withPair(subject, ({ client, server }) => resetSeen(client, server)),

  'reset by the acceptor reaches the dialer': (subject) =>
    withPair(subject, ({ client, server }) => resetSeen(server, client)),

  'reset by the dialer closes the acceptor': (subject) =>
    withPair(subject, async ({ client, server }) => {
      client.reset()
      assertEqual(await client.closed, { kind: 'reset', by: 'local' }, 'the side that reset')
      await endedByPeer(server)
    }),

  'reset right after end() with bytes still queued closes at once': (subject) =>
    withPair(subject, async ({ client, server }) => {
      const blocks = new PoisonedBlocks(256 * 1024)
      for (let i = 0; i < 80; i++) client.write(blocks.take(0), 0, 256 * 1024)
      client.end()
      await turns(2)
      client.reset()
      assertEqual(await client.closed, { kind: 'reset', by: 'local' }, 'the side that reset')
      assertEqual(blocks.outstanding, 0, 'blocks still held after close')
      server.reset()
    }),

  'reset after FIN was sent is still a reset': (subject) =>
    withPair(subject, async ({ client, server }) => {
      client.end()
      assertEqual(await textOf(server), '', 'bytes')
      client.reset()
      client.reset()
      assertEqual(await client.closed, { kind: 'reset', by: 'local' }, 'the side that reset')
    }),

  '10 MB to a slow reader arrive whole, dialer to acceptor': (subject) =>
    withPair(subject, ({ client, server }) => slowReader(client, server)),

  '10 MB to a slow reader arrive whole, acceptor to dialer': (subject) =>
    withPair(subject, ({ client, server }) => slowReader(server, client)),

  'queued falls and onDrain runs as the peer reads': (subject) =>
    withPair(subject, async ({ client, server }) => {
      const drained = new Deferred<void>()
      const total = 12_000_000
      for (let i = 0; i < total; i += 1_000_000) {
        client.write(blockOf(new Uint8Array(1_000_000)), 0, 1_000_000)
      }
      assert(client.queued > 0, 'bytes are queued')
      const before = client.queued
      client.onDrain(() => {
        assert(client.queued < before, 'onDrain runs after queued has fallen')
        if (client.queued === 0) drained.resolve()
      })
      client.end()
      assertEqual((await readAll(server)).length, total, 'bytes received')
      await drained.promise
    }),

  'bytes that were put back come first, and FIN again after them': (subject) =>
    withPair(subject, async ({ client, server }) => {
      send(client, 'hello')
      const sip = new Sip(3)
      server.read(sip)
      const head = await sip.got.promise
      server.unread(head)
      client.end()
      assertEqual(await textOf(server), 'hello', 'the whole text')
      server.unread(encode('bye'))
      assertEqual(await textOf(server), 'bye', 'bytes put back after FIN')
    }),

  'bytes put back from within filled() keep their place': (subject) =>
    withPair(subject, async ({ client, server }) => {
      const rest = readAllLater(server)
      const block = blockOf(new Uint8Array(4))
      server.read({
        room: () => ({ block, offset: 0, length: 4 }),
        filled(length) {
          server.unread(block.bytes.slice(0, length))
          rest.start()
        },
        end() {},
      })
      send(client, 'a client hello')
      client.end()
      assertEqual(decode(await rest.bytes), 'a client hello', 'the whole text')
    }),

  'a target without room is not given bytes, and none are lost': (subject) =>
    withPair(subject, async ({ client, server }) => {
      const sip = new Sip(4)
      server.read(sip)
      send(client, 'abcdefgh')
      client.end()
      assertEqual(decode(await sip.got.promise), 'abcd', 'the first room')
      await turns(3)
      assertEqual(await textOf(server), 'efgh', 'the rest')
    }),

  'a slow reader gets the last bytes although both sides have ended': (subject) =>
    withPair(subject, async ({ client, server }) => {
      await lastBytes(client, server)
    }),

  'a slow reader at the acceptor gets the last bytes, too': (subject) =>
    withPair(subject, async ({ client, server }) => {
      await lastBytes(server, client)
    }),

  'cork holds writes back until uncork': (subject) =>
    withPair(subject, async ({ client, server }) => {
      client.cork()
      client.cork()
      send(client, 'a')
      send(client, 'b')
      client.uncork()
      await turns(5)
      assertEqual(client.queued, 2, 'bytes held back')
      client.uncork()
      client.end()
      assertEqual(await textOf(server), 'ab', 'bytes after uncork')
    }),

  'end() sends what was corked': (subject) =>
    withPair(subject, async ({ client, server }) => {
      client.cork()
      send(client, 'held')
      client.end()
      client.uncork()
      assertEqual(await textOf(server), 'held', 'bytes')
    }),

  'everything may be called again after close, and nothing happens': (subject) =>
    withPair(subject, async ({ client, server }) => {
      client.end()
      client.end()
      const late = blockOf('late')
      late.pin()
      client.write(late, 0, 4)
      assertEqual(late.pins, 1, 'pins after a write behind end()')
      assertEqual(await textOf(server), '', 'bytes after end()')
      server.end()
      await Promise.all([textOf(client), client.closed, server.closed])
      client.write(late, 0, 4)
      assertEqual(late.pins, 0, 'pins after a write behind close')
      assertEqual(client.queued, 0, 'queued after close')
      client.end()
      client.reset()
      client.cork()
      client.uncork()
      client.unread(encode('x'))
      client.read(new Sip(1))
      client.onDrain(undefined)
      await client[Symbol.asyncDispose]()
      assertEqual((await client.closed).kind, 'fin', 'the first reason stays')
    }),

  'disposing of an open stream resets it': (subject) =>
    withPair(subject, async ({ client, server }) => {
      await client[Symbol.asyncDispose]()
      assertEqual((await client.closed).kind, 'reset', 'how it closed')
      await endedByPeer(server)
    }),

  'a listener learns nothing of a chunk iterator that left': (subject) =>
    withPair(subject, async ({ client, server }) => {
      send(client, 'one')
      for await (const chunk of chunks(server)) {
        assertEqual(decode(chunk), 'one', 'the first chunk')
        break
      }
      send(client, 'two')
      client.end()
      assertEqual(await textOf(server), 'two', 'what came after')
    }),
}
