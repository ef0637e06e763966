/** RFC 6298: the retransmission timer. */

import { describe, expect, test } from 'vitest'
import { SegmentScript, tcp } from '../../test/simulator/segment-script.ts'
import { RttEstimator } from './rtt-estimator.ts'

describe('the estimate', () => {
  test('(2.1) until there is a measurement the RTO is 1 s', () => {
    expect(new RttEstimator().rto).toBe(1000)
  })

  test('(2.2) the first measurement R: SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 RTTVAR', () => {
    const rtt = new RttEstimator()
    rtt.sample(400)
    expect([rtt.smoothed, rtt.variation, rtt.rto]).toEqual([400, 200, 1200])
  })

  test('(2.3) further measurements: RTTVAR by a quarter, then SRTT by an eighth', () => {
    const rtt = new RttEstimator()
    rtt.sample(400)
    rtt.sample(480)
    expect([rtt.smoothed, rtt.variation, rtt.rto]).toEqual([410, 170, 1090])
  })

  test('(2.4) the RTO has a floor: 200 ms', () => {
    const rtt = new RttEstimator()
    for (let i = 0; i < 50; i++) rtt.sample(0.2)
    expect(rtt.rto).toBe(200)
  })

  test('(2.5) and a ceiling of 120 s', () => {
    const rtt = new RttEstimator()
    rtt.sample(200_000)
    expect(rtt.rto).toBe(120_000)
    rtt.backOff()
    expect(rtt.rto).toBe(120_000)
  })

  test('(5.5) backing off doubles it, and a new measurement ends that', () => {
    const rtt = new RttEstimator()
    rtt.sample(400)
    rtt.backOff()
    rtt.backOff()
    expect(rtt.rto).toBe(4800)
    rtt.sample(400)
    expect(rtt.rto).toBeLessThan(1200)
  })
})

/** When segments with data left, `ms` since the first. */
function departures(script: SegmentScript, forMs: number): number[] {
  const times: number[] = []
  const from = script.clock.now()
  for (let at = 0; at < forMs; at += 10) {
    for (const { length = 0 } of script.take()) {
      if (length > 0) times.push(script.clock.now() - from)
    }
    script.advance(10)
  }
  return times
}

describe('the timer', () => {
  test('(5.1) it runs from the first segment, (5.4) the earliest unacknowledged segment is sent again, (5.5) backed off, (5.6) again', () => {
    const script = SegmentScript.established()
    script.write('a')
    expect(departures(script, 4000)).toEqual([0, 200, 600, 1400, 3000])
  })

  test('(5.2) it stops when all is acknowledged', () => {
    const script = SegmentScript.established()
    script.write('a')
    script.send(tcp({ ack: 2 }))
    script.take()
    script.advance(100_000)
    script.expect()
    expect(script.host.timers.armed).toBe(0)
  })

  test('(5.3) an ACK of new data starts it anew', () => {
    const script = SegmentScript.established()
    script.write(2920)
    script.take()
    script.advance(150)
    script.send(tcp({ ack: 1461 }))
    script.advance(150)
    script.expect()
    script.advance(900)
    expect(script.take()[0]).toMatchObject({ seq: 1461 })
  })

  test('(5.7) after a lost SYN, data starts with an RTO of 3 s', () => {
    const script = new SegmentScript()
    script.connect()
    script.advance(1500)
    script.take()
    script.send(tcp({ flags: 'SA', ack: 1 }))
    expect(script.connection.snapshot().rto).toBe(3000)
  })

  test("Karn's algorithm: what was sent twice is not timed", () => {
    const script = SegmentScript.established()
    script.write('a')
    script.advance(10_000)
    const { rtt } = script.connection.snapshot()
    script.send(tcp({ ack: 2 }))
    expect(script.connection.snapshot().rtt).toBe(rtt)
  })

  test('a timeout collapses the window to one segment, and slow start follows', () => {
    const script = SegmentScript.established()
    script.write(14_600)
    expect(script.take().length).toBe(10)
    script.advance(250)
    script.expect(tcp({ seq: 1, length: 1460 }))
    expect(script.connection.snapshot()).toMatchObject({ recovery: 'loss', timeouts: 1 })
    script.send(tcp({ ack: 1461 }))
    expect(script.take().map(({ seq }) => seq)).toEqual([1461, 2921])
  })

  test('15 timeouts in a row end in ETIMEDOUT, after 924.6 seconds as on Linux', async () => {
    const script = SegmentScript.established()
    script.write('a')
    script.advance(924_500)
    expect(script.connection.state).toBe('ESTABLISHED')
    script.advance(200)
    const reason = await script.stream.closed
    expect(reason).toMatchObject({ kind: 'timeout', by: 'remote', error: { code: 'ETIMEDOUT' } })
    expect(script.connection.snapshot().retransmits).toBe(15)
    expect([script.host.timers.armed, script.host.left]).toEqual([0, 1])
  })

  test('the user timeout ends it earlier', () => {
    const script = SegmentScript.established({ settings: { userTimeoutMs: 5000 } })
    script.write('a')
    script.advance(4000)
    expect(script.connection.state).toBe('ESTABLISHED')
    script.advance(6000)
    expect(script.connection.snapshot().closed).toMatchObject({ kind: 'timeout' })
  })

  test('a link that heals recovers by retransmission', () => {
    const script = SegmentScript.established()
    script.write('hello')
    script.take()
    script.advance(100_000)
    expect(script.take().length).toBeGreaterThan(5)
    script.send(tcp({ ack: 6 }))
    script.write('again')
    script.expect(tcp({ seq: 6, data: 'again' }))
  })
})
