/** What every `Dialer` with its `Acceptor`, and every `ByteStream` between them, must do. */

import { blockOf } from '../block.ts'
import type { ByteStream, ReadTarget, Room } from '../byte-stream.ts'
import { chunks, readAll, writeAll } from '../byte-stream-io.ts'
import { isIpEndpoint } from '../endpoint.ts'
import type { Endpoint } from '../endpoint.ts'
import type { Acceptor, Dialer, Listening } from '../network.ts'
import { assert, assertEqual, assertRejects, Deferred, rejection } from './expectations.ts'
import { defineSuite } from './runner.ts'
import type { ComplianceOptions, ComplianceRunner } from './runner.ts'
import { PatternReader, PoisonedBlocks, turns, writePattern } from './stream-tools.ts'

/** Two ends of one network, or of two that reach each other. */
export interface StreamNetworkSubject {
  readonly dialer: Dialer
  readonly acceptor: Acceptor
  /** Where to listen: port 0 where there are ports. Each call may give another place. */
  at(): Endpoint
  /** What to dial for a listener at `address`; left out where it is the address itself. */
  toward?(address: Endpoint): Endpoint
  /** Where nobody listens. */
  nobody(): Endpoint | Promise<Endpoint>
  /** A local end that the dialer can take on (port 0). */
  readonly from?: Endpoint
}

interface Pair {
  readonly client: ByteStream
  readonly server: ByteStream
  readonly listening: Listening
}

const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

async function withPair(
  subject: StreamNetworkSubject,
  run: (pair: Pair) => Promise<void>,
): Promise<void> {
  const accepted = new Deferred<ByteStream>()
  const listening = await subject.acceptor.listen(subject.at(), accepted.resolve)
  try {
    const to = subject.toward?.(listening.address) ?? listening.address
    const client = await subject.dialer.connect(to)
    const server = await accepted.promise
    try {
      await run({ client, server, listening })
    } finally {
      client.reset()
      server.reset()
      await Promise.all([client.closed, server.closed])
    }
  } finally {
    await listening.close()
  }
}

function send(stream: ByteStream, text: string): void {
  const bytes = encode(text)
  stream.write(blockOf(bytes), 0, bytes.length)
}

async function textOf(stream: ByteStream): Promise<string> {
  return decode(await readAll(stream))
}

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

/** Takes one room's worth, then says stop. */
class Sip implements ReadTarget {
  readonly got = new Deferred<Uint8Array>()
  readonly ended = new Deferred<void>()
  readonly #room: Room
  #full = false

  constructor(bytes: number) {
    this.#room = { block: blockOf(new Uint8Array(bytes)), offset: 0, length: bytes }
  }

  room(): Room | undefined {
    return this.#full ? undefined : this.#room
  }

  filled(length: number): void {
    this.#full = true
    this.got.resolve(this.#room.block.bytes.slice(0, length))
  }

  end(): void {
    this.ended.resolve()
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

/** The stream ends, by RST or, where the kind has none, by FIN. */
async function endedByPeer(stream: ByteStream): Promise<void> {
  const sip = new Sip(1)
  stream.read(sip)
  await Promise.race([sip.ended.promise, stream.closed])
  stream.end()
  assertEqual((await stream.closed).by, 'remote', 'who ended it')
}

const cases: Readonly<Record<string, (subject: StreamNetworkSubject) => Promise<void>>> = {
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

  'peers know each other by address': (subject) =>
    withPair(subject, async ({ client, server, listening }) => {
      const to = subject.toward?.(listening.address) ?? listening.address
      assertEqual(client.remote, to, "the dialer's remote end")
      if (!isIpEndpoint(to)) return
      assert(server.local !== undefined && isIpEndpoint(server.local), 'the acceptor has an end')
      assertEqual(server.local.port, (listening.address as { port: number }).port, 'its port')
      if (subject.toward === undefined) {
        assertEqual(server.remote, client.local, "the acceptor's remote end")
      }
    }),

  'the dialer takes on the local end it is told to': async (subject) => {
    const { from } = subject
    if (from === undefined) {
      // Nothing to take on: then asking for it must fail rather than be ignored.
      const listening = await subject.acceptor.listen(subject.at(), (stream) => stream.reset())
      const to = subject.toward?.(listening.address) ?? listening.address
      const asked = subject.dialer.connect(to, { from: { ip: '192.0.2.77', port: 0 } })
      await assertRejects(asked, ['EADDRNOTAVAIL'], 'a local end that does not exist')
      await listening.close()
      return
    }
    const accepted = new Deferred<ByteStream>()
    const listening = await subject.acceptor.listen(subject.at(), accepted.resolve)
    const to = subject.toward?.(listening.address) ?? listening.address
    const client = await subject.dialer.connect(to, { from })
    const server = await accepted.promise
    assertEqual((client.local as { ip?: string }).ip, (from as { ip?: string }).ip, 'local address')
    assertEqual(server.remote, client.local, 'what the acceptor sees')
    client.reset()
    server.reset()
    await listening.close()
  },

  'a place where nobody listens refuses at once': async (subject) => {
    const to = await subject.nobody()
    const error = await assertRejects(
      subject.dialer.connect(to),
      isIpEndpoint(to) ? ['ECONNREFUSED'] : ['ECONNREFUSED', 'ENOENT'],
      'connect',
    )
    assertEqual(error['syscall'], 'connect', 'syscall')
    if (isIpEndpoint(to)) {
      assertEqual([error['address'], error['port']], [to.ip, to.port], 'address and port')
    }
  },

  'an aborted connect rejects with the reason and leaves nothing behind': async (subject) => {
    const accepted: ByteStream[] = []
    const listening = await subject.acceptor.listen(subject.at(), (stream) => {
      accepted.push(stream)
    })
    const to = subject.toward?.(listening.address) ?? listening.address
    const before = new Error('changed my mind before')
    assert(
      (await rejection(
        subject.dialer.connect(to, { signal: AbortSignal.abort(before) }),
        'a signal that had fired',
      )) === before,
      "the error is the signal's reason",
    )
    const controller = new AbortController()
    const reason = new Error('changed my mind')
    const connecting = subject.dialer.connect(to, { signal: controller.signal })
    controller.abort(reason)
    assert(
      (await rejection(connecting, 'a signal that fired')) === reason,
      "the error is the signal's reason",
    )
    // A listener that saw the connection sees it end; a later abort of the signal means nothing to a stream that stands.
    const later = new AbortController()
    const client = await subject.dialer.connect(to, { signal: later.signal })
    later.abort()
    await turns(5)
    for (const stream of accepted.slice(0, -1)) {
      stream.read(new Sip(1))
      stream.end()
      await stream.closed
    }
    const server = accepted.at(-1)
    assert(server !== undefined, 'the second connection was accepted')
    send(client, 'still here')
    client.end()
    assertEqual(await textOf(server), 'still here', 'the stream that stands')
    server.reset()
    await listening.close()
  },

  'a place is listened on once': async (subject) => {
    const first = await subject.acceptor.listen(subject.at(), (stream) => stream.reset())
    if (isIpEndpoint(first.address)) assert(first.address.port > 0, 'port 0 is filled in')
    const second = subject.acceptor.listen(first.address, (stream) => stream.reset())
    await assertRejects(second, ['EADDRINUSE'], 'a second listener')
    await first.close()
    const again = await subject.acceptor.listen(first.address, (stream) => stream.reset())
    await again.close()
  },

  'a listener that is closed refuses, and its streams live on': (subject) =>
    withPair(subject, async ({ client, server, listening }) => {
      await Promise.all([listening.close(), listening.close()])
      await listening[Symbol.asyncDispose]()
      const to = subject.toward?.(listening.address) ?? listening.address
      await assertRejects(subject.dialer.connect(to), ['ECONNREFUSED', 'ENOENT'], 'connect')
      send(client, 'still here')
      client.end()
      assertEqual(await textOf(server), 'still here', 'bytes after close')
    }),

  'an aborted listen leaves the place free': async (subject) => {
    const reason = new Error('not today')
    const asked = subject.acceptor.listen(subject.at(), () => {}, {
      signal: AbortSignal.abort(reason),
    })
    assert((await rejection(asked, 'listen')) === reason, "the error is the signal's reason")
  },

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

  'fifty streams at once do not mix': async (subject) => {
    const listening = await subject.acceptor.listen(subject.at(), (stream) => {
      void echo(stream)
    })
    const to = subject.toward?.(listening.address) ?? listening.address
    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const stream = await subject.dialer.connect(to)
        await writeAll(stream, `${i};`.repeat(2000))
        stream.end()
        return textOf(stream)
      }),
    )
    for (const [i, answer] of answers.entries()) {
      assert(answer === `${i};`.repeat(2000), `stream ${i} got its own bytes`)
    }
    await listening.close()
  },
}

async function echo(stream: ByteStream): Promise<void> {
  for await (const chunk of chunks(stream)) await writeAll(stream, chunk)
  stream.end()
}

function readAllLater(stream: ByteStream): { start(): void; readonly bytes: Promise<Uint8Array> } {
  const bytes = new Deferred<Uint8Array>()
  return {
    start: () => void readAll(stream).then(bytes.resolve),
    bytes: bytes.promise,
  }
}

/**
 * Runs the suite.
 *
 * ```ts
 * import { describe, test } from 'vitest'
 * import { streamNetworkCompliance } from '@netkit/core/compliance'
 *
 * streamNetworkCompliance({ describe, test }, { name: 'my network', setup: () => ({ … }) })
 * ```
 */
export function streamNetworkCompliance(
  runner: ComplianceRunner,
  options: ComplianceOptions<StreamNetworkSubject>,
): void {
  defineSuite(runner, 'Dialer and Acceptor', options, cases)
}
