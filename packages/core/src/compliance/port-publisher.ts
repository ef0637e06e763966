/** What every `PortPublisher` must do. */

import type { ByteStream } from '../byte-stream.ts'
import { readAll, writeAll } from '../byte-stream-io.ts'
import type { Dialer, Listening, Network } from '../network.ts'
import type { PortPublisher, PortRequest } from '../port-publisher.ts'
import { assert, assertEqual, assertRejects, rejection } from './expectations.ts'
import { defineSuite } from './runner.ts'
import type { ComplianceOptions, ComplianceRunner } from './runner.ts'

/** A publisher, and both sides of what it publishes. */
export interface PortPublisherSubject {
  readonly publisher: PortPublisher
  /** Reaches the published ports. */
  readonly outside: Dialer
  /** Where the targets are. */
  readonly inside: Network
  /** An address of the host, and one of the inside. */
  readonly ip: string
  readonly insideIp: string
}

const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

async function textOf(stream: ByteStream): Promise<string> {
  return decode(await readAll(stream))
}

/** Answers each connection with `text` and its own bytes. */
async function serveText(
  { inside, insideIp }: PortPublisherSubject,
  text: string,
): Promise<number> {
  const listening = await inside.listen({ ip: insideIp, port: 0 }, (stream) => {
    void answer(stream, text)
  })
  return (listening.address as { port: number }).port
}

async function answer(stream: ByteStream, text: string): Promise<void> {
  const question = await textOf(stream)
  await writeAll(stream, `${text}: ${question}`)
  stream.end()
}

async function ask(outside: Dialer, ip: string, port: number, question: string): Promise<string> {
  const stream = await outside.connect({ ip, port })
  const reading = textOf(stream)
  await writeAll(stream, question)
  stream.end()
  return reading
}

const refused = ['ECONNREFUSED', 'ECONNRESET']

const cases: Readonly<Record<string, (subject: PortPublisherSubject) => Promise<void>>> = {
  'a committed port leads to its target, both ways and with half-close': async (subject) => {
    const { publisher, outside, inside, ip, insideIp } = subject
    const target = await serveText(subject, 'inside')
    const lease = await publisher.reserve([{ protocol: 'tcp', ip, port: 0 }], { owner: 'web' })
    const [port] = lease.ports
    assert(port !== undefined && port.port > 0, 'port 0 is filled in')
    assertEqual([lease.owner, port.protocol, port.ip], ['web', 'tcp', ip], 'the reservation')
    await lease.commit([{ network: inside, to: { ip: insideIp, port: target } }])
    assertEqual(await ask(outside, ip, port.port, 'hello'), 'inside: hello', 'the answer')
    await publisher.release('web')
  },

  'connections that come before commit wait for it': async (subject) => {
    const { publisher, outside, inside, ip, insideIp } = subject
    const target = await serveText(subject, 'late')
    const lease = await publisher.reserve([{ protocol: 'tcp', ip, port: 0 }], { owner: 'web' })
    const port = lease.ports[0]?.port ?? 0
    const early = await outside.connect({ ip, port })
    const reading = textOf(early)
    await writeAll(early, 'early bird')
    early.end()
    await lease.commit([{ network: inside, to: { ip: insideIp, port: target } }])
    assertEqual(await reading, 'late: early bird', 'the answer')
    await publisher.release('web')
  },

  'ports are reserved all or none, and the conflict names the holder': async (subject) => {
    const { publisher, ip } = subject
    const first = await publisher.reserve([{ protocol: 'tcp', ip, port: 0 }], { owner: 'first' })
    const taken: PortRequest = { protocol: 'tcp', ip, port: first.ports[0]?.port ?? 0 }
    const probe = await publisher.reserve([{ protocol: 'tcp', ip, port: 0 }], { owner: 'probe' })
    const free: PortRequest = { protocol: 'tcp', ip, port: probe.ports[0]?.port ?? 0 }
    await probe.abort()
    const error = await assertRejects(
      publisher.reserve([free, taken], { owner: 'second' }),
      ['EADDRINUSE'],
      'a port that is taken',
    )
    assert(String(error['reason']).includes('first'), 'the reason names the holder')
    const again = await publisher.reserve([free], { owner: 'third' })
    await Promise.all([again.abort(), first.abort()])
  },

  'abort gives the ports back and resets who waits; it is idempotent': async (subject) => {
    const { publisher, outside, ip } = subject
    const lease = await publisher.reserve([{ protocol: 'tcp', ip, port: 0 }], { owner: 'web' })
    const port = lease.ports[0]?.port ?? 0
    const waiting = await outside.connect({ ip, port })
    const failure = rejection(readAll(waiting), 'reading from a connection that waited')
    await lease.abort()
    await lease.abort()
    await lease[Symbol.asyncDispose]()
    await failure
    await assertRejects(outside.connect({ ip, port }), refused, 'connect after abort')
  },

  'release gives back everything of one owner and nothing of another': async (subject) => {
    const { publisher, outside, inside, ip, insideIp } = subject
    const target = await serveText(subject, 'x')
    const reserve = async (owner: string): Promise<number> => {
      const lease = await publisher.reserve([{ protocol: 'tcp', ip, port: 0 }], { owner })
      await lease.commit([{ network: inside, to: { ip: insideIp, port: target } }])
      return lease.ports[0]?.port ?? 0
    }
    const [mine, alsoMine, theirs] = [
      await reserve('me'),
      await reserve('me'),
      await reserve('you'),
    ]
    await publisher.release('me')
    await publisher.release('me')
    await assertRejects(outside.connect({ ip, port: mine }), refused, 'a released port')
    await assertRejects(outside.connect({ ip, port: alsoMine }), refused, 'another one')
    assertEqual(await ask(outside, ip, theirs, '?'), 'x: ?', "the other owner's port")
    await publisher.release('you')
  },

  'a range is mapped one to one': async (subject) => {
    const { publisher, outside, inside, ip, insideIp } = subject
    const listen = (port: number): Promise<Listening> =>
      inside.listen({ ip: insideIp, port }, (stream) => {
        void answer(stream, String(port))
      })
    const targets = [await listen(7000), await listen(7001)]
    const lease = await reserveRange(publisher, ip)
    assertEqual(lease.ports.length, 2, 'ports')
    await lease.commit([{ network: inside, to: { ip: insideIp, port: 7000 } }])
    for (const [i, target] of ['7000', '7001'].entries()) {
      const port = lease.ports[i]?.port ?? 0
      assertEqual(await ask(outside, ip, port, 'you?'), `${target}: you?`, `port ${i}'s target`)
    }
    await publisher.release('range')
    await Promise.all(targets.map((target) => target.close()))
  },

  'an aborted reservation rejects with the reason': async ({ publisher, ip }) => {
    const reason = new Error('not today')
    const signal = AbortSignal.abort(reason)
    const asked = publisher.reserve([{ protocol: 'tcp', ip, port: 0 }], { owner: 'web', signal })
    assert((await rejection(asked, 'reserve')) === reason, "the error is the signal's reason")
  },
}

/** Two successive ports that nobody has. */
async function reserveRange(
  publisher: PortPublisher,
  ip: string,
): Promise<Awaited<ReturnType<PortPublisher['reserve']>>> {
  for (let tries = 0; ; tries++) {
    const probe = await publisher.reserve([{ protocol: 'tcp', ip, port: 0 }], { owner: 'probe' })
    const port = probe.ports[0]?.port ?? 0
    await probe.abort()
    try {
      return await publisher.reserve([{ protocol: 'tcp', ip, port, count: 2 }], { owner: 'range' })
    } catch (error) {
      // Somebody has the port after it: look elsewhere.
      if (tries === 20) throw error
    }
  }
}

/** Runs the suite. */
export function portPublisherCompliance(
  runner: ComplianceRunner,
  options: ComplianceOptions<PortPublisherSubject>,
): void {
  defineSuite(runner, 'PortPublisher', options, cases)
}
