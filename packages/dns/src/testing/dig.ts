/** A small DNS client for the tests. */

import { Block, isIpEndpoint } from '@netkit/core'
import type { IpEndpoint, Network } from '@netkit/core'
import { MessageStream } from '../message-stream.ts'
import { writeOpt } from '../wire/edns.ts'
import { FLAG, rcodeName } from '../wire/header.ts'
import { Message } from '../wire/message.ts'
import { nameToWire } from '../wire/name.ts'
import { describeRecord, nameAt } from '../wire/record-data.ts'
import { typeName, typeNumber } from '../wire/rr-type.ts'
import { deferred } from './deferred.ts'

/** How a query is written. */
export interface DigOptions {
  id?: number
  flags?: number
  /** EDNS payload size; left out there is no OPT. */
  edns?: number
  dnssecOk?: boolean
}

/** The bytes of a query. */
export function queryBytes(
  name: string,
  type: string | number = 'A',
  options: DigOptions = {},
): Uint8Array {
  const { id = 0x1234, flags = FLAG.RD, edns, dnssecOk = false } = options
  const wire = nameToWire(name)
  const out = new Uint8Array(12 + wire.length + 4 + (edns === undefined ? 0 : 11))
  const view = new DataView(out.buffer)
  view.setUint16(0, id)
  view.setUint16(2, flags)
  view.setUint16(4, 1)
  out.set(wire, 12)
  view.setUint16(12 + wire.length, typeNumber(type) ?? 0)
  view.setUint16(14 + wire.length, 1)
  if (edns !== undefined) {
    view.setUint16(10, 1)
    writeOpt(out, 16 + wire.length, edns, 0, dnssecOk)
  }
  return out
}

/** A response, taken apart for assertions. */
export interface Dug {
  id: number
  rcode: string
  flags: string[]
  question: string
  answers: string[]
  authorities: string[]
  additionals: string[]
  /** The server's payload size, when there was an OPT. */
  edns: number | undefined
  length: number
}

/** Takes a response apart. @throws where it is malformed. */
export function dug(bytes: Uint8Array): Dug {
  const message = new Message()
  const flaw = message.scan(bytes)
  if (flaw !== undefined) throw new Error(`malformed response: ${flaw}`)
  const sections: [string[], string[], string[]] = [[], [], []]
  for (let i = 0; i < message.records; i++) {
    if (i === message.opt) continue
    const data = describeRecord(
      message.typeOf(i),
      message.ttlOf(i),
      bytes,
      message.rdataOf(i),
      message.endOf(i),
    )
    sections[message.sectionOf(i)].push(`${nameAt(bytes, message.ownerOf(i))} ${data}`)
  }
  return {
    id: message.id,
    rcode: rcodeName(message.rcode),
    flags: Object.entries(FLAG).flatMap(([name, bit]) =>
      (message.flags & bit) === 0 ? [] : [name],
    ),
    question: message.questions === 0 ? '' : `${nameAt(bytes, 12)} ${typeName(message.type)}`,
    answers: sections[0],
    authorities: sections[1],
    additionals: sections[2],
    edns: message.opt < 0 ? undefined : message.classOf(message.opt),
    length: bytes.length,
  }
}

/** Sends one datagram and waits for one. */
export async function exchangeUdp(
  network: Network,
  server: IpEndpoint,
  query: Uint8Array,
): Promise<Uint8Array> {
  await using port = await network.bind({ ip: '198.18.0.9', port: 0 })
  return await new Promise((resolve) => {
    port.onMessage((bytes) => resolve(bytes.slice()))
    port.send(new Block(query), 0, query.length, server)
  })
}

/** Sends all queries on one stream at once and returns the answers in the order they come. */
export async function exchangeTcp(
  network: Network,
  server: IpEndpoint,
  queries: readonly Uint8Array[],
): Promise<Uint8Array[]> {
  const stream = await network.connect(server)
  const answers: Uint8Array[] = []
  const all = deferred()
  const messages = new MessageStream(stream, {
    message: (bytes) => {
      answers.push(bytes.slice())
      if (answers.length === queries.length) all.resolve()
    },
    end: () => all.resolve(),
  })
  for (const query of queries) messages.send(query)
  await all.promise
  stream.end()
  await stream.closed
  return answers
}

/** Answers every datagram and every stream message by `answer`; `undefined` is silence. */
export async function fakeServer(
  network: Network,
  at: IpEndpoint,
  answer: (
    query: Uint8Array,
    via: 'udp' | 'tcp',
  ) => Uint8Array | undefined | Promise<Uint8Array | undefined>,
): Promise<AsyncDisposable & { address: IpEndpoint; received: Uint8Array[] }> {
  const received: Uint8Array[] = []
  const respond = async (
    query: Uint8Array,
    via: 'udp' | 'tcp',
    send: (reply: Uint8Array) => void,
  ): Promise<void> => {
    const reply = await answer(query, via)
    if (reply) send(reply)
  }
  const port = await network.bind(at)
  port.onMessage((bytes, from) => {
    const query = bytes.slice()
    received.push(query)
    void respond(query, 'udp', (reply) => port.send(new Block(reply), 0, reply.length, from))
  })
  const listening = await network.listen(port.local, (stream) => {
    const messages = new MessageStream(stream, {
      message: (bytes) => {
        const query = bytes.slice()
        received.push(query)
        void respond(query, 'tcp', (reply) => messages.send(reply))
      },
      end: () => stream.end(),
    })
  })
  const { address } = listening
  return {
    address: isIpEndpoint(address) ? address : at,
    received,
    async [Symbol.asyncDispose]() {
      await Promise.all([port.close(), listening.close()])
    },
  }
}
