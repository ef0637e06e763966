import { describe, expect, test } from 'vitest'
import { layer } from './layer.ts'
import { makeReply, replyFrom } from './reply.ts'
import type { OwnRecord } from './reply.ts'
import { createResponder } from './server.ts'
import { dug, queryBytes } from './testing/dig.ts'
import type { DigOptions, Dug } from './testing/dig.ts'
import { Message } from './wire/message.ts'
import { MessageWriter } from './wire/message-writer.ts'
import { nameToWire } from './wire/name.ts'
import { CLASS_IN, RR_TYPE } from './wire/rr-type.ts'

const addresses = (count: number): OwnRecord[] =>
  Array.from({ length: count }, (_, i) => ({
    type: RR_TYPE.A,
    ttl: 60,
    rdata: Uint8Array.of(192, 0, 2, i),
  }))

async function ask(
  records: OwnRecord[],
  options: DigOptions,
  limit: number,
  via: 'udp' | 'tcp' = 'udp',
): Promise<Dug> {
  const responder = createResponder({
    layers: [layer('records', (query) => makeReply(query, { from: 'records', records }))],
  })
  const bytes = await responder.answer(queryBytes('many.test', 'A', options), { via, limit })
  return dug(bytes ?? new Uint8Array())
}

describe('a reply that is too long', () => {
  test('without EDNS is filled with what fits in 512 bytes, and truncated', async () => {
    const answer = await ask(addresses(60), {}, 1232)
    expect(answer.flags).toContain('TC')
    // 12 + 15 of header and question, 16 per address.
    expect(answer.answers).toHaveLength(Math.floor((512 - 27) / 16))
    expect(answer.length).toBeLessThanOrEqual(512)
  })

  test.each([
    [4096, 1232, 1232],
    [900, 1232, 900],
    [100, 1232, 512],
    [1232, 548, 548],
  ])('EDNS %i on a transport of %i bytes: at most %i, OPT included', async (edns, limit, most) => {
    const answer = await ask(addresses(200), { edns }, limit)
    expect(answer.length).toBeLessThanOrEqual(most)
    expect(answer.length).toBeGreaterThan(most - 16)
    expect(answer).toMatchObject({ edns: 1232 })
    expect(answer.flags).toContain('TC')
  })

  test('over TCP is whole', async () => {
    const answer = await ask(addresses(255), {}, 65_535, 'tcp')
    expect(answer.answers).toHaveLength(255)
    expect(answer.flags).not.toContain('TC')
  })

  test('loses its additional and authority records first, and is not truncated for that', async () => {
    const extra = Array.from({ length: 20 }, (_, i): OwnRecord => ({
      type: RR_TYPE.TXT,
      ttl: 1,
      rdata: new Uint8Array(30).fill(i === 0 ? 29 : 0, 0, 1).fill(65, 1),
      section: 2,
    }))
    for (const record of extra) record.rdata[0] = 29
    const answer = await ask([...addresses(5), ...extra], {}, 1232)
    expect(answer.answers).toHaveLength(5)
    expect(answer.additionals.length).toBeLessThan(20)
    expect(answer.flags).not.toContain('TC')
  })
})

describe('a reply made of an upstream response', () => {
  test('has no OPT, wherever it was, and keeps the upper bits of the response code', () => {
    const name = nameToWire('a.test')
    const writer = new MessageWriter().begin(0x8180).question(name, 0, RR_TYPE.A, CLASS_IN)
    writer.record(0, name, 0, RR_TYPE.A, CLASS_IN, 60, Uint8Array.of(192, 0, 2, 1))
    // Extended response code 1: BADVERS.
    writer.record(2, Uint8Array.of(0), 0, RR_TYPE.OPT, 1232, 0x01000000, new Uint8Array(0))
    writer.record(
      2,
      nameToWire('b.a.test'),
      0,
      RR_TYPE.A,
      CLASS_IN,
      60,
      Uint8Array.of(192, 0, 2, 2),
    )
    const message = new Message()
    expect(message.scan(writer.finish())).toBeUndefined()
    const reply = replyFrom(message, 'test')
    expect(reply.rcode).toBe(16)
    expect(dug(reply.wire)).toMatchObject({
      edns: undefined,
      answers: ['a.test A 60 192.0.2.1'],
      additionals: ['b.a.test A 60 192.0.2.2'],
    })
  })

  test('a TTL with the highest bit set is 0, and AD goes unless it is trusted', () => {
    const name = nameToWire('a.test')
    const writer = new MessageWriter().begin(0x81a0).question(name, 0, RR_TYPE.A, CLASS_IN)
    writer.record(0, name, 0, RR_TYPE.A, CLASS_IN, 0x80000001, Uint8Array.of(192, 0, 2, 1))
    const message = new Message()
    message.scan(writer.finish())
    expect(dug(replyFrom(message, 'test').wire)).toMatchObject({
      answers: ['a.test A 0 192.0.2.1'],
      flags: ['QR', 'RD', 'RA'],
    })
    expect(dug(replyFrom(message, 'test', true).wire).flags).toContain('AD')
  })
})
