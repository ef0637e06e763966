/**
 * What must hold for whatever bytes: the tests check it with a fixed seed, `scripts/fuzz.ts` with as many as there is time for.
 */

import { isNetkitError } from '@netkit/core'
import * as fc from 'fast-check'
import { layer } from '../layer.ts'
import { guard } from '../layers/guard.ts'
import { fromPacket, toPacket } from '../packet/packet.ts'
import { makeReply } from '../reply.ts'
import { createResponder } from '../server.ts'
import { expandName, Message } from '../wire/message.ts'
import { MAX_NAME_LENGTH } from '../wire/name.ts'
import { message as anyMessage } from './arbitrary.ts'
import { dug } from './dig.ts'

/** A property and how often each of its outcomes came: one that never came was not tested. */
export interface Property {
  readonly claim: string
  readonly property: fc.IAsyncPropertyWithHooks<[Uint8Array]>
  readonly outcomes: Map<string, number>
}

/** A well-formed message with up to four bytes of it changed. */
const bentMessage: fc.Arbitrary<Uint8Array> = fc
  .tuple(anyMessage, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }))
  .map(([{ wire }, bends]) => {
    const bytes = wire.slice()
    for (const [where, value] of bends) bytes[where % bytes.length] = value
    return bytes
  })

/** Bytes, half of them with a header that makes them look like a question with an answer. */
const noise: fc.Arbitrary<Uint8Array> = fc
  .tuple(fc.uint8Array({ minLength: 12, maxLength: 600, size: 'max' }), fc.boolean())
  .map(([bytes, plausible]) => {
    if (plausible) bytes.set([0, 0, 0, 1, 0, 1, 0, 0, 0, 0], 2)
    return bytes
  })

function holds(
  claim: string,
  bytes: fc.Arbitrary<Uint8Array>,
  check: (bytes: Uint8Array) => string | Promise<string>,
): Property {
  const outcomes = new Map<string, number>()
  const property = fc.asyncProperty(bytes, async (one) => {
    const outcome = await check(one)
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  })
  return { claim, property, outcomes }
}

/** All that a message means, without its compression and the case of its names, as one text. */
function meaning(wire: Uint8Array): string {
  const { id, rcode, flags, question, answers, authorities, additionals } = dug(wire)
  const message = new Message()
  message.scan(wire)
  const classes = Array.from({ length: message.records }, (_, i) => message.classOf(i))
  if (message.questions > 0) classes.push(message.class)
  const all = { id, rcode, flags, question, answers, authorities, additionals, classes }
  return JSON.stringify(all, undefined, 1).toLowerCase()
}

/** The scanner accepts or refuses any bytes; names and records that it accepts lie within the message. */
export const scannerHolds = (): Property =>
  holds(
    'the scanner accepts or refuses, and what it accepts stays in bounds',
    fc.oneof(bentMessage, noise),
    (bytes) => {
      const message = new Message()
      const flaw = message.scan(bytes)
      if (flaw !== undefined) return flaw
      const room = new Uint8Array(MAX_NAME_LENGTH)
      for (let i = 0; i < message.records; i++) {
        if (expandName(bytes, message.ownerOf(i), room) > MAX_NAME_LENGTH)
          throw new Error('a name too long')
        if (message.endOf(i) > bytes.length) throw new Error('a record beyond the message')
      }
      return 'accepted'
    },
  )

/** What the scanner accepts, dns-packet decodes without throwing, and it encodes to the same meaning. */
export const bridgeHolds = (): Property =>
  holds('what the scanner accepts means the same through dns-packet', bentMessage, (bytes) => {
    if (new Message().scan(bytes) !== undefined) return 'refused'
    try {
      const [before, after] = [meaning(bytes), meaning(fromPacket(toPacket(bytes)))]
      if (before !== after) throw new Error(`${before}\nbecame\n${after}`)
      return 'same meaning'
    } catch (error) {
      // The ways out: a name that text cannot hold, and messages that are no queries.
      if (
        !isNetkitError(error, 'NETKIT_DNS_MESSAGE') ||
        !/beyond ASCII|not a query/.test(error.message)
      )
        throw error
      return 'not for dns-packet'
    }
  })

/** A query is answered with something well-formed, a response with nothing, and nothing throws. */
export const responderHolds = (): Property => {
  const nothing = layer('nothing', (query) => makeReply(query, { from: 'nothing' }))
  const responder = createResponder({ layers: [guard(), nothing] })
  return holds(
    'a query is answered, a response is not',
    fc.oneof(bentMessage, noise),
    async (bytes) => {
      // The generator makes responses; most are turned into queries.
      if ((bytes[3] ?? 0) % 4 !== 3) bytes[2] = (bytes[2] ?? 0) & 0x7f
      const answer = await responder.answer(bytes, { via: 'udp', limit: 1232 })
      const isResponse = ((bytes[2] ?? 0) & 0x80) !== 0
      if ((answer === undefined) !== isResponse)
        throw new Error('a query without an answer, or an answer to a response')
      if (answer && answer.length > 1232) throw new Error('an answer longer than the limit')
      return answer ? dug(answer).rcode : 'no answer'
    },
  )
}
