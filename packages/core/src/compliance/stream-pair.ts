/** What the stream and network cases share: a subject, a pair of connected streams, and small talk over them. */

import { blockOf } from '../block.ts'
import type { ByteStream, ReadTarget, Room } from '../byte-stream.ts'
import { readAll } from '../byte-stream-io.ts'
import type { Endpoint } from '../endpoint.ts'
import type { Acceptor, Dialer, Listening } from '../network.ts'
import { assertEqual, Deferred } from './expectations.ts'

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

/** Both ends of one connection. */
export interface StreamPair {
  readonly client: ByteStream
  readonly server: ByteStream
  readonly listening: Listening
}

/** Cases by their claim. */
export type StreamCases = Readonly<Record<string, (subject: StreamNetworkSubject) => Promise<void>>>

/** UTF-8 to bytes. */
export const encode = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)

/** Bytes to text. */
export const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** Connects, runs, and closes everything. */
export async function withPair(
  subject: StreamNetworkSubject,
  run: (pair: StreamPair) => Promise<void>,
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

/** Writes a text. */
export function send(stream: ByteStream, text: string): void {
  const bytes = encode(text)
  stream.write(blockOf(bytes), 0, bytes.length)
}

/** Everything up to FIN, as text. */
export async function textOf(stream: ByteStream): Promise<string> {
  return decode(await readAll(stream))
}

/** Takes one room's worth, then says stop. */
export class Sip implements ReadTarget {
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

/** The stream ends, by RST or, where the kind has none, by FIN. */
export async function endedByPeer(stream: ByteStream): Promise<void> {
  const sip = new Sip(1)
  stream.read(sip)
  await Promise.race([sip.ended.promise, stream.closed])
  stream.end()
  assertEqual((await stream.closed).by, 'remote', 'who ended it')
}
