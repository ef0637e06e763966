import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { dug, queryBytes } from '../testing/dig.ts'
import { bridgeHolds } from '../testing/properties.ts'
import { fromPacket, toPacket } from './packet.ts'

describe('the bridge to dns-packet', () => {
  test('whatever the scanner accepts decodes, and encodes to the same meaning', async () => {
    const { property, outcomes } = bridgeHolds()
    await fc.assert(property, { numRuns: 3000, seed: 20_261_123 })
    expect(outcomes.get('same meaning')).toBeGreaterThan(1000)
  })

  test('types that dns-packet would turn into 0 keep their name and bytes', () => {
    const data = Uint8Array.of(0, 1, 0)
    const wire = fromPacket({
      type: 'response',
      questions: [{ name: 'example.com', type: 'HTTPS', class: 'IN' }],
      answers: [{ name: 'example.com', type: 'HTTPS', class: 'IN', ttl: 60, data }],
    } as never)
    expect(dug(wire)).toMatchObject({
      question: 'example.com HTTPS',
      answers: ['example.com HTTPS 60 \\# 3 000100'],
    })
    expect(toPacket(wire).answers[0]).toMatchObject({ type: 'HTTPS', data })
  })

  test('a label of 64 bytes is refused, where dns-packet writes a compression pointer', () => {
    const name = `${'x'.repeat(200)}.test`
    expect(() => fromPacket({ questions: [{ name, type: 'A' }] })).toThrow(/200 bytes/)
  })

  test('a TXT string of 300 bytes becomes two', () => {
    const answers = [{ name: 'a.test', type: 'TXT' as const, ttl: 1, data: 'x'.repeat(300) }]
    const packet = toPacket(fromPacket({ type: 'response', answers }))
    expect((packet.answers[0] as { data: Uint8Array[] }).data.map((part) => part.length)).toEqual([
      255, 45,
    ])
  })

  test('twelve bytes that promise 262,140 records never reach dns-packet', () => {
    const lie = new Uint8Array(12).fill(0xff, 4)
    expect(() => toPacket(lie)).toThrow(/malformed \(counts\)/)
  })

  test('an update is refused', () => {
    const update = queryBytes('example.com', 'SOA', { flags: 5 << 11 })
    expect(() => toPacket(update)).toThrow(/not a query/)
  })
})
