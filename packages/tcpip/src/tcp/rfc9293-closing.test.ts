/** RFC 9293: how connections end, by either side, by silence, by ICMP; docs/conformance.md points here. */

import { blockOf } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { SegmentScript, tcp } from '../../test/simulator/segment-script.ts'

describe('closing (3.6)', () => {
  test('we end first: FIN, half-open, then TIME-WAIT for 60 s', async () => {
    const script = SegmentScript.established()
    script.write('bye')
    script.stream.end()
    script.settle()
    expect(script.take().at(-1)).toMatchObject({ flags: 'FA' })
    expect(script.connection.state).toBe('FIN-WAIT-1')
    script.send(tcp({ ack: 5 }))
    expect(script.connection.state).toBe('FIN-WAIT-2')
    script.send(tcp({ data: 'still here' }))
    expect(script.reader?.received).toBe(10)
    script.take()
    script.send(tcp({ flags: 'FA' }))
    script.expect(tcp({ flags: 'A', seq: 5, ack: 12 }))
    expect(script.connection.state).toBe('TIME-WAIT')
    expect(await script.stream.closed).toEqual({ kind: 'fin', by: 'local' })
    script.advance(59_000)
    expect(script.host.left).toBe(0)
    script.advance(1100)
    expect([script.host.left, script.host.timers.armed]).toEqual([1, 0])
  })

  test('the peer ends first: we may go on sending, then LAST-ACK', async () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'FA' }))
    script.expect(tcp({ flags: 'A', ack: 2 }))
    expect([script.connection.state, script.reader?.ended]).toEqual(['CLOSE-WAIT', true])
    script.write('more')
    script.expect(tcp({ seq: 1, data: 'more' }))
    script.stream.end()
    script.settle()
    script.expect(tcp({ flags: 'FA', seq: 5 }))
    expect(script.connection.state).toBe('LAST-ACK')
    script.send(tcp({ ack: 6 }))
    expect(script.host.left).toBe(1)
    expect(await script.stream.closed).toEqual({ kind: 'fin', by: 'remote' })
  })

  test('simultaneous close: FINs cross, CLOSING, TIME-WAIT', () => {
    const script = SegmentScript.established()
    script.stream.end()
    script.settle()
    script.expect(tcp({ flags: 'FA', seq: 1 }))
    script.send(tcp({ flags: 'FA', ack: 1 }))
    expect(script.connection.state).toBe('CLOSING')
    script.expect(tcp({ flags: 'A', seq: 2, ack: 2 }))
    script.send(tcp({ ack: 2 }))
    expect(script.connection.state).toBe('TIME-WAIT')
  })

  test('FIN and its ACK in one segment lead from FIN-WAIT-1 to TIME-WAIT', () => {
    const script = SegmentScript.established()
    script.stream.end()
    script.settle()
    script.send(tcp({ flags: 'FA', ack: 2 }))
    expect(script.connection.state).toBe('TIME-WAIT')
  })

  test('TIME-WAIT: a repeated FIN is acknowledged and starts the wait again', () => {
    const script = SegmentScript.established()
    script.stream.end()
    script.settle()
    script.send(tcp({ flags: 'FA', seq: 1, ack: 2 }))
    script.take()
    script.advance(50_000)
    script.send(tcp({ flags: 'FA', seq: 1, ack: 2 }))
    script.expect(tcp({ flags: 'A', seq: 2, ack: 2 }))
    script.advance(50_000)
    expect(script.connection.state).toBe('TIME-WAIT')
    script.advance(10_100)
    expect(script.connection.state).toBe('CLOSED')
  })

  test('TIME-WAIT: a SYN that is newer takes the 4-tuple over, an older one does not', () => {
    const script = SegmentScript.established()
    script.stream.end()
    script.settle()
    script.send(tcp({ flags: 'FA', seq: 1, ack: 2 }))
    const first = script.connection
    script.take()
    script.send(tcp({ flags: 'S', seq: 0 }))
    expect(script.connection).toBe(first)
    script.take()
    script.send(tcp({ flags: 'S', seq: 5000 }))
    script.expect(tcp({ flags: 'SA', seq: 0, ack: 5001 }))
    expect(script.connection).not.toBe(first)
    expect(first.state).toBe('CLOSED')
  })

  test('TIME-WAIT: timestamps tell a newer SYN whose sequence number is lower', () => {
    const script = SegmentScript.established({ syn: { timestamps: [100, 0] } })
    script.send(tcp({ ack: 1, timestamps: [101, 0] }))
    script.stream.end()
    script.settle()
    script.send(tcp({ flags: 'FA', seq: 1, ack: 2, timestamps: [102, 0] }))
    script.take()
    script.send(tcp({ flags: 'S', seq: -5000, timestamps: [200, 0] }))
    script.expect(tcp({ flags: 'SA', seq: 0, ack: -4999 }))
  })

  test('FIN-WAIT-2: a peer that answers keeps its half-open connection, a silent one is given up', () => {
    const script = SegmentScript.established()
    script.stream.end()
    script.settle()
    script.send(tcp({ ack: 2 }))
    script.take()
    for (let i = 0; i < 100; i++) {
      script.advance(61_000)
      expect(script.take()[0]).toMatchObject({ flags: 'A', seq: 1, length: 0 })
      script.send(tcp({ ack: 2 }))
    }
    expect(script.connection.state).toBe('FIN-WAIT-2')
    script.advance(300_000)
    expect(script.connection.snapshot().closed).toMatchObject({ kind: 'timeout' })
    expect(script.host.timers.armed).toBe(0)
  })

  test('reset() sends RST at once and drops what is queued', async () => {
    const script = SegmentScript.established()
    const block = blockOf('queued')
    script.stream.write(block, 0, 6)
    script.stream.reset()
    script.settle()
    script.expect(tcp({ flags: 'RA', seq: 1 }))
    expect(block.pins).toBe(0)
    expect(await script.stream.closed).toEqual({ kind: 'reset', by: 'local' })
  })

  test("the peer's RST tells the application ECONNRESET", async () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'RA' }))
    expect(await script.stream.closed).toMatchObject({
      kind: 'reset',
      by: 'remote',
      error: { code: 'ECONNRESET', syscall: 'read' },
    })
  })

  test('a RST with data resets too', () => {
    const script = SegmentScript.established()
    script.send(tcp({ flags: 'RA', data: 'because' }))
    expect(script.connection.state).toBe('CLOSED')
  })

  test('abort() ends with the error it was given', async () => {
    const script = SegmentScript.established()
    const error = new Error('the policy changed')
    script.connection.abort(error)
    script.expect(tcp({ flags: 'RA' }))
    expect(await script.stream.closed).toEqual({ kind: 'error', by: 'local', error })
  })
})

describe('keepalive (3.8.4)', () => {
  test('is off by default', () => {
    const script = SegmentScript.established()
    script.advance(100_000_000)
    script.expect()
    expect(script.host.timers.armed).toBe(0)
  })

  test('true means 2 hours', () => {
    const script = SegmentScript.established({ settings: { keepAlive: true } })
    script.advance(7_199_000)
    script.expect()
    script.advance(2000)
    script.expect(tcp({ flags: 'A', seq: 0, length: 0 }))
  })

  test('probes only an idle peer, tolerates lost answers, and gives up after the last', () => {
    const keepAlive = { idleMs: 10_000, intervalMs: 1000, probes: 3 }
    const script = SegmentScript.established({ settings: { keepAlive } })
    script.advance(9000)
    script.send(tcp({ data: 'busy' }))
    script.take()
    script.advance(9000)
    script.expect()
    script.advance(3100)
    // Two probes were lost; the third is answered.
    expect(script.take().length).toBeGreaterThanOrEqual(2)
    script.send(tcp({}))
    script.advance(9000)
    expect(script.connection.state).toBe('ESTABLISHED')
    script.advance(10_000)
    expect(script.connection.snapshot().closed).toMatchObject({
      kind: 'timeout',
      error: { code: 'ETIMEDOUT' },
    })
  })
})

describe('ICMP and the link', () => {
  test('while the link gives no credit the retransmission timer stands still, and the connection lives', () => {
    const script = SegmentScript.established()
    script.write('hello')
    script.take()
    script.host.blocked = true
    script.advance(24 * 3_600_000)
    script.expect()
    expect(script.connection.snapshot()).toMatchObject({ state: 'ESTABLISHED', timeouts: 0 })
    script.host.blocked = false
    script.connection.linkChanged()
    script.advance(1000)
    expect(script.take()[0]).toMatchObject({ seq: 1, data: 'hello' })
  })

  test('what could not leave for want of credit leaves when it is back', () => {
    const script = SegmentScript.established()
    script.host.blocked = true
    script.write('hello')
    script.send(tcp({ data: 'hi' }))
    script.expect()
    script.host.blocked = false
    script.connection.creditReturned()
    script.expect(tcp({ seq: 1, ack: 3, data: 'hello' }))
  })
})
