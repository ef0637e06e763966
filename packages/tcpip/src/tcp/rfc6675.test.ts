/** RFC 2018 and RFC 6675: selective acknowledgments; RFC 6582: without them. */

import { describe, expect, test } from 'vitest'
import { SegmentScript, type SegmentText, tcp } from '../../test/simulator/segment-script.ts'
import { SackScoreboard } from './sack-scoreboard.ts'

const SACK = { syn: { sackPermitted: true } }
const starts = (segments: readonly SegmentText[]): (number | undefined)[] =>
  segments.map(({ seq }) => seq)

/** Five segments with a hole before each. */
const holes = (timestamps: readonly [number, number] | false): SegmentText[] =>
  [1, 2, 3, 4, 5].map((i) => ({ seq: 200 * i, length: 100, timestamps }))

describe('sending SACKs (RFC 2018)', () => {
  test('blocks are sent only to a peer that permitted them', () => {
    const without = SegmentScript.established()
    without.send(tcp({ seq: 101, length: 100 }))
    without.expect(tcp({ ack: 1, sack: [] }))
    const withSack = SegmentScript.established(SACK)
    withSack.send(tcp({ seq: 101, length: 100 }))
    withSack.expect(tcp({ ack: 1, sack: [[101, 201]] }))
  })

  test('the first block is the one that the last segment belongs to', () => {
    const script = SegmentScript.established(SACK)
    script.send(tcp({ seq: 101, length: 100 }))
    script.send(tcp({ seq: 501, length: 100 }))
    script.send(tcp({ seq: 301, length: 100 }))
    script.take()
    script.send(tcp({ seq: 201, length: 50 }))
    script.expect(
      tcp({
        ack: 1,
        sack: [
          [101, 251],
          [301, 401],
          [501, 601],
        ],
      }),
    )
  })

  test('adjacent blocks are one', () => {
    const script = SegmentScript.established(SACK)
    script.send(tcp({ seq: 101, length: 100 }), tcp({ seq: 201, length: 100 }))
    script.expect(tcp({ sack: [[101, 301]] }))
  })

  test('a hole is told even while full segments leave, which have no room for blocks', () => {
    const script = SegmentScript.established(SACK)
    script.host.blocked = true
    script.write(2920)
    script.host.blocked = false
    script.send(tcp({ seq: 101, length: 100 }))
    script.expect(
      tcp({ length: 0, sack: [[101, 201]] }),
      tcp({ length: 1460, sack: [] }),
      tcp({ length: 1460, sack: [] }),
    )
  })

  test('three blocks fit beside timestamps, four without', () => {
    const plain = SegmentScript.established(SACK)
    plain.send(...holes(false))
    expect(plain.take()[0]?.sack?.length).toBe(4)
    const stamped = SegmentScript.established({
      syn: { sackPermitted: true, timestamps: [1, 0] },
    })
    stamped.send(...holes([2, 0]))
    expect(stamped.take().at(-1)?.sack?.length).toBe(3)
  })
})

describe('the scoreboard (RFC 6675 4)', () => {
  test('IsLost: three ranges above, or more than two segments of bytes', () => {
    const board = new SackScoreboard()
    board.add(2000, 2100)
    board.add(3000, 3100)
    expect(board.lossEdge(1000)).toBe(-1)
    board.add(4000, 4100)
    expect(board.lossEdge(1000)).toBe(2000)
    const bytes = new SackScoreboard()
    bytes.add(2000, 4000)
    expect(bytes.lossEdge(1000)).toBe(-1)
    bytes.add(4000, 4001)
    expect(bytes.lossEdge(1000)).toBe(2000)
  })
})

describe('recovery with SACK (RFC 6675 5)', () => {
  test('one lost segment of ten is sent again at once, alone', () => {
    const script = SegmentScript.established(SACK)
    script.write(14_600)
    expect(script.take().length).toBe(10)
    script.send(tcp({ ack: 1, sack: [[1461, 14_601]] }))
    script.expect(tcp({ seq: 1, length: 1460 }))
    expect(script.connection.snapshot()).toMatchObject({ recovery: 'fast', retransmits: 1 })
    script.send(tcp({ ack: 14_601 }))
    expect(script.connection.snapshot()).toMatchObject({ recovery: 'none', timeouts: 0 })
  })

  test('several holes are filled in one round trip, and nothing SACKed is sent again', () => {
    const script = SegmentScript.established(SACK)
    script.write(14_600)
    script.take()
    script.send(
      tcp({
        ack: 1,
        sack: [
          [1461, 2921],
          [4381, 7301],
          [8761, 14_601],
        ],
      }),
    )
    script.expect(tcp({ seq: 1 }), tcp({ seq: 2921 }), tcp({ seq: 7301 }))
  })

  test('reordering of less than three segments is no loss', () => {
    const script = SegmentScript.established(SACK)
    script.write(14_600)
    script.take()
    script.send(tcp({ ack: 1, sack: [[1461, 2921]] }))
    script.send(tcp({ ack: 1, sack: [[1461, 4381]] }))
    expect(script.connection.snapshot().recovery).toBe('none')
    script.send(tcp({ ack: 4381 }))
    expect(script.connection.snapshot().retransmits).toBe(0)
  })

  test('limited transmit: SACKs before recovery let new data out (RFC 3042)', () => {
    const script = SegmentScript.established(SACK)
    script.write(40_000)
    script.take()
    script.send(tcp({ ack: 1, sack: [[1461, 2921]] }))
    script.expect(tcp({ seq: 14_601, length: 1460 }))
  })

  test('the window is halved once per recovery', () => {
    const script = SegmentScript.established(SACK)
    script.write(60_000)
    script.take()
    script.send(tcp({ ack: 1, sack: [[1461, 8761]] }))
    const { congestionWindow } = script.connection.snapshot()
    expect(congestionWindow).toBe(7300)
    script.send(tcp({ ack: 1, sack: [[1461, 10_221]] }))
    script.send(tcp({ ack: 1, sack: [[1461, 11_681]] }))
    expect(script.connection.snapshot()).toMatchObject({ congestionWindow, fastRecoveries: 1 })
  })

  test('a lost retransmission is repeated by the timer, not in a loop', () => {
    const script = SegmentScript.established(SACK)
    script.write(14_600)
    script.take()
    script.send(tcp({ ack: 1, sack: [[1461, 14_601]] }))
    script.expect(tcp({ seq: 1 }))
    script.advance(190)
    script.expect()
    script.advance(60)
    script.expect(tcp({ seq: 1 }))
  })

  test('a peer that gives up what it had SACKed gets it again after two timeouts', () => {
    const script = SegmentScript.established(SACK)
    script.write(2920)
    script.take()
    script.send(tcp({ ack: 1, sack: [[1461, 2921]] }))
    script.advance(1000)
    expect(script.take().every(({ seq }) => seq === 1)).toBe(true)
    script.send(tcp({ ack: 1461 }))
    script.advance(5000)
    expect(starts(script.take())).toContain(1461)
  })

  test('what is acknowledged leaves the scoreboard: bytes in flight are counted right after recovery', () => {
    const script = SegmentScript.established(SACK)
    script.write(14_600)
    script.take()
    script.send(tcp({ ack: 1, sack: [[1461, 14_601]] }))
    script.send(tcp({ ack: 14_601 }))
    script.write(2920)
    expect(script.connection.snapshot().inFlight).toBe(2920)
  })

  test('SACK blocks beyond what was sent are ignored', () => {
    const script = SegmentScript.established(SACK)
    script.write(2920)
    script.take()
    script.send(tcp({ ack: 1, sack: [[1461, 999_999]] }), tcp({ ack: 1, sack: [[5000, 1]] }))
    expect(script.connection.snapshot()).toMatchObject({ recovery: 'none', inFlight: 2920 })
  })
})

describe('recovery without SACK (RFC 5681 3.2, RFC 6582)', () => {
  test('three duplicate ACKs send the first segment again; partial ACKs the next', () => {
    const script = SegmentScript.established()
    script.write(14_600)
    script.take()
    script.send(tcp({ ack: 1 }), tcp({ ack: 1 }))
    expect(script.connection.snapshot().recovery).toBe('none')
    script.take()
    script.send(tcp({ ack: 1 }))
    expect(starts(script.take())[0]).toBe(1)
    script.send(tcp({ ack: 5841 }))
    expect(starts(script.take())[0]).toBe(5841)
    script.send(tcp({ ack: 14_601 }))
    expect(script.connection.snapshot()).toMatchObject({ recovery: 'none', timeouts: 0 })
  })

  test('an ACK that changes the window or carries data is no duplicate', () => {
    const script = SegmentScript.established()
    script.write(14_600)
    script.take()
    for (let i = 1; i <= 4; i++) script.send(tcp({ ack: 1, window: 65_535 - i }))
    for (let i = 1; i <= 4; i++) script.send(tcp({ ack: 1, window: 65_531, length: 10 }))
    expect(script.connection.snapshot().retransmits).toBe(0)
  })

  test('a peer without SACK is sent one duplicate ACK per segment, also in a batch', () => {
    const script = SegmentScript.established()
    script.send(
      tcp({ seq: 101, length: 100 }),
      tcp({ seq: 201, length: 100 }),
      tcp({ seq: 301, length: 100 }),
    )
    script.expect(tcp({ ack: 1 }), tcp({ ack: 1 }), tcp({ ack: 1 }))
  })
})
