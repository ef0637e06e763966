/** What every `Dialer` with its `Acceptor` must do. `stream-cases.ts` has what the streams between them must. */

import type { ByteStream } from '../byte-stream.ts'
import { chunks, writeAll } from '../byte-stream-io.ts'
import { isIpEndpoint } from '../endpoint.ts'
import { assert, assertEqual, assertRejects, Deferred, rejection } from './expectations.ts'
import { defineSuite } from './runner.ts'
import type { ComplianceOptions, ComplianceRunner } from './runner.ts'
import { streamCases } from './stream-cases.ts'
import { send, Sip, textOf, withPair } from './stream-pair.ts'
import type { StreamCases, StreamNetworkSubject } from './stream-pair.ts'
import { turns } from './stream-tools.ts'

async function echo(stream: ByteStream): Promise<void> {
  for await (const chunk of chunks(stream)) await writeAll(stream, chunk)
  stream.end()
}

const networkCases: StreamCases = {
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
  defineSuite(runner, 'Dialer and Acceptor', options, { ...streamCases, ...networkCases })
}
