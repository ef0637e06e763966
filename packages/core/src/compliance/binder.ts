/** What every `Binder` and its `DatagramPort`s must do. */

import { Block, blockOf } from '../block.ts'
import type { IpEndpoint } from '../endpoint.ts'
import { errorCode } from '../errors.ts'
import type { Binder, DatagramFailure, DatagramPort } from '../network.ts'
import { assert, assertEqual, assertRejects, Deferred, rejection } from './expectations.ts'
import { defineSuite } from './runner.ts'
import type { ComplianceOptions, ComplianceRunner } from './runner.ts'
import { patternByte } from './stream-tools.ts'

/** A binder and a place on it. */
export interface BinderSubject {
  readonly binder: Binder
  /** An address that ports can be bound at and reached at. */
  readonly ip: string
  /** Largest payload that gets through whole, `bytes`. */
  readonly maxBytes: number
  /** A port that nobody is bound to. */
  nobody(): IpEndpoint | Promise<IpEndpoint>
}

interface Datagram {
  readonly bytes: Uint8Array
  readonly from: IpEndpoint
}

/** Collects what arrives. */
class Inbox {
  readonly #arrived: Datagram[] = []
  #wake: () => void = () => {}

  constructor(port: DatagramPort) {
    port.onMessage((bytes, from) => {
      this.#arrived.push({ bytes: bytes.slice(), from })
      this.#wake()
    })
  }

  async next(): Promise<Datagram> {
    for (;;) {
      const datagram = this.#arrived.shift()
      if (datagram !== undefined) return datagram
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

function send(port: DatagramPort, text: string, to?: IpEndpoint): void {
  const block = blockOf(text)
  port.send(block, 0, block.length, to)
}

const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

async function withPorts(
  { binder, ip }: BinderSubject,
  run: (a: DatagramPort, b: DatagramPort) => Promise<void>,
): Promise<void> {
  const a = await binder.bind({ ip, port: 0 })
  const b = await binder.bind({ ip, port: 0 })
  try {
    await run(a, b)
  } finally {
    await Promise.all([a.close(), b.close()])
  }
}

function nextFailure(port: DatagramPort): Promise<DatagramFailure> {
  const failed = new Deferred<DatagramFailure>()
  port.onError(failed.resolve)
  return failed.promise
}

const cases: Readonly<Record<string, (subject: BinderSubject) => Promise<void>>> = {
  'a datagram arrives with its sender, and the answer comes back': (subject) =>
    withPorts(subject, async (a, b) => {
      const [atA, atB] = [new Inbox(a), new Inbox(b)]
      assert(a.local.port > 0, 'port 0 is filled in')
      send(a, 'ping', b.local)
      const ping = await atB.next()
      assertEqual([decode(ping.bytes), ping.from], ['ping', a.local], 'the datagram')
      send(b, 'pong', ping.from)
      assertEqual(decode((await atA.next()).bytes), 'pong', 'the answer')
    }),

  'an empty datagram is a datagram': (subject) =>
    withPorts(subject, async (a, b) => {
      const atB = new Inbox(b)
      send(a, '', b.local)
      send(a, 'next', b.local)
      assertEqual((await atB.next()).bytes.length, 0, 'length')
      assertEqual(decode((await atB.next()).bytes), 'next', 'the one after')
    }),

  'the largest datagram arrives whole': (subject) =>
    withPorts(subject, async (a, b) => {
      const atB = new Inbox(b)
      const bytes = new Uint8Array(subject.maxBytes + 2).map((_, i) => patternByte(i))
      a.send(new Block(bytes), 1, subject.maxBytes, b.local)
      const { bytes: received } = await atB.next()
      assertEqual(received.length, subject.maxBytes, 'length')
      assert(
        received.every((byte, i) => byte === patternByte(i + 1)),
        'every byte',
      )
    }),

  'one that is too large is EMSGSIZE, by onError and not by throwing': (subject) =>
    withPorts(subject, async (a, b) => {
      const atB = new Inbox(b)
      const failure = nextFailure(a)
      const block = new Block(new Uint8Array(70_000))
      block.pin()
      a.send(block, 0, 70_000, b.local)
      const { error, to } = await failure
      assertEqual([errorCode(error), to], ['EMSGSIZE', b.local], 'the failure')
      assertEqual(block.pins, 1, 'pins of the refused block')
      send(a, 'after', b.local)
      assertEqual(decode((await atB.next()).bytes), 'after', 'the port lives on')
    }),

  'a block is released once sent': (subject) =>
    withPorts(subject, async (a, b) => {
      const atB = new Inbox(b)
      const released = new Deferred<void>()
      const block = new Block(new TextEncoder().encode('once'), {
        recycle: () => released.resolve(),
      })
      a.send(block, 0, 4, b.local)
      await Promise.all([atB.next(), released.promise])
      assertEqual(a.queued, 0, 'queued')
    }),

  'a connected port talks to its peer alone': async (subject) => {
    const { binder, ip } = subject
    await withPorts(subject, async (peer, stranger) => {
      const port = await binder.bind({ ip, port: 0 }, { connected: peer.local })
      const [atPort, atPeer] = [new Inbox(port), new Inbox(peer)]
      assertEqual(port.connected, peer.local, 'connected')
      send(stranger, 'intruder', port.local)
      send(port, 'to the peer')
      const hello = await atPeer.next()
      assertEqual([decode(hello.bytes), hello.from], ['to the peer', port.local], 'at the peer')
      send(peer, 'answer', hello.from)
      assertEqual(decode((await atPort.next()).bytes), 'answer', 'the first that arrives')
      const failure = nextFailure(port)
      send(port, 'astray', stranger.local)
      assertEqual(errorCode((await failure).error), 'EINVAL', 'another destination')
      await port.close()
    })
  },

  'a connected port hears that nobody is there': async (subject) => {
    const { binder, ip } = subject
    const to = await subject.nobody()
    const port = await binder.bind({ ip, port: 0 }, { connected: to })
    const failure = nextFailure(port)
    send(port, 'anyone?')
    const { error, to: where } = await failure
    assertEqual([errorCode(error), where], ['ECONNREFUSED', to], 'the failure')
    await port.close()
  },

  'a destination is asked for where there is none': (subject) =>
    withPorts(subject, async (a) => {
      const failure = nextFailure(a)
      send(a, 'where to?')
      assertEqual(errorCode((await failure).error), 'EINVAL', 'the failure')
    }),

  'a port is bound once': async ({ binder, ip }) => {
    const port = await binder.bind({ ip, port: 0 })
    await assertRejects(binder.bind(port.local), ['EADDRINUSE'], 'a second bind')
    await port.close()
    const again = await binder.bind(port.local)
    await again.close()
  },

  'close may be called again; a port that is closed drops what is sent': (subject) =>
    withPorts(subject, async (a, b) => {
      await Promise.all([a.close(), a.close()])
      await a[Symbol.asyncDispose]()
      const block = blockOf('late')
      block.pin()
      a.send(block, 0, 4, b.local)
      assertEqual([block.pins, a.queued], [1, 0], 'pins and queued')
    }),

  'an aborted bind rejects with the reason': async ({ binder, ip }) => {
    const reason = new Error('not today')
    const asked = binder.bind({ ip, port: 0 }, { signal: AbortSignal.abort(reason) })
    assert((await rejection(asked, 'bind')) === reason, "the error is the signal's reason")
  },
}

/** Runs the suite. */
export function binderCompliance(
  runner: ComplianceRunner,
  options: ComplianceOptions<BinderSubject>,
): void {
  defineSuite(runner, 'Binder', options, cases)
}
