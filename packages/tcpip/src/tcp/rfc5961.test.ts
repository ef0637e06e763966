/** RFC 5961: blind attacks. RFC 6528: initial sequence numbers. */

import { seededRandom } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { SegmentScript, tcp } from '../../test/simulator/segment-script.ts'
import { VirtualClock } from '../../test/simulator/virtual-clock.ts'
import { InitialSequenceNumbers } from './initial-sequence-numbers.ts'
import { siphash } from './siphash.ts'

describe('RST (3.2)', () => {
  test('at exactly RCV.NXT it resets', () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'R', seq: 1 }))
    expect(script.connection.state).toBe('CLOSED')
  })

  test('elsewhere in the window it is challenged', () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'R', seq: 2000 }))
    script.expect(tcp({ flags: 'A', seq: 1, ack: 1 }))
    expect(script.connection.state).toBe('ESTABLISHED')
  })

  test('outside of the window it is dropped silently', () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'R', seq: 90_000_000 }), tcp({ flags: 'R', seq: -5 }))
    script.expect()
    expect(script.connection.state).toBe('ESTABLISHED')
  })
})

describe('SYN (4.2)', () => {
  test('in a synchronized state it is challenged wherever it lies', () => {
    const script = SegmentScript.established()
    for (const seq of [1, 2000, -300_000]) {
      script.send(tcp({ flags: 'S', seq }))
      script.expect(tcp({ flags: 'A', seq: 1, ack: 1 }))
    }
    expect(script.connection.state).toBe('ESTABLISHED')
  })

  test('a peer that really restarted answers the challenge with RST, and the connection is gone', () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'S', seq: 1_000_000 }))
    script.expect(tcp({ flags: 'A', ack: 1 }))
    script.send(tcp({ flags: 'R', seq: 1 }))
    expect(script.connection.state).toBe('CLOSED')
  })
})

describe('data (5.2)', () => {
  test('an ACK of what was never sent is challenged and its data dropped', () => {
    const script = SegmentScript.established()
    script.send(tcp({ ack: 5000, data: 'injected' }))
    script.expect(tcp({ flags: 'A', seq: 1, ack: 1 }))
    expect(script.reader?.received).toBe(0)
  })

  test('an ACK far below SND.UNA is challenged and its data dropped', () => {
    const script = SegmentScript.established()
    script.send(tcp({ ack: -100_000, data: 'injected' }))
    script.expect(tcp({ flags: 'A', seq: 1, ack: 1 }))
    expect(script.reader?.received).toBe(0)
  })
})

describe('the limit (7)', () => {
  test('ten challenge ACKs a second and connection, then silence, then ten again', () => {
    const script = SegmentScript.established()
    const flood = (): number => {
      for (let i = 0; i < 100; i++) script.send(tcp({ flags: 'R', seq: 2000 }))
      return script.take().length
    }
    expect(flood()).toBe(10)
    script.advance(1000)
    expect(flood()).toBe(10)
    expect(script.connection.snapshot().challengeAcks).toBe(20)
  })
})

describe('initial sequence numbers (RFC 6528)', () => {
  const tuple = new TextEncoder().encode('198.18.0.1:80 198.18.0.2:40000')

  test('the hash is SipHash-2-4: vectors of its authors', () => {
    const key = Uint8Array.from({ length: 16 }, (_, i) => i)
    const hash = (length: number): string => {
      const { high, low } = siphash(
        key,
        Uint8Array.from({ length }, (_, i) => i),
      )
      return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')
    }
    expect([hash(0), hash(1), hash(8), hash(15)]).toEqual([
      '726fdb47dd0e0e31',
      '74f839c593dc67fd',
      '93f5f5799a932462',
      'a129ca6149be45e5',
    ])
  })

  test('they follow a clock of 4 µs', () => {
    const clock = new VirtualClock()
    const numbers = new InitialSequenceNumbers(clock, seededRandom(1))
    const before = numbers.isn(tuple)
    clock.advance(1000)
    expect((numbers.isn(tuple) - before) >>> 0).toBe(250_000)
  })

  test('they differ by tuple and by secret', () => {
    const clock = new VirtualClock()
    const numbers = new InitialSequenceNumbers(clock, seededRandom(1))
    const others = new InitialSequenceNumbers(clock, seededRandom(2))
    const other = new TextEncoder().encode('198.18.0.1:80 198.18.0.2:40001')
    expect(new Set([numbers.isn(tuple), numbers.isn(other), others.isn(tuple)]).size).toBe(3)
  })

  test('the timestamp offset of a tuple is the same at each incarnation', () => {
    const clock = new VirtualClock()
    const numbers = new InitialSequenceNumbers(clock, seededRandom(1))
    const before = numbers.timestampOffset(tuple)
    clock.advance(5000)
    expect(numbers.timestampOffset(tuple)).toBe(before)
  })
})
