/**
 * Two TCPs over faulty wires, seed by seed.
 *
 * `NETKIT_TCP_SEEDS=5000..8000` runs other seeds, and `pnpm simulate:tcp --seeds 5000..8000` more of them with a line per scenario.
 * Each failure writes its parameters into a file and tells how `replay.ts` shows that run again, segment by segment.
 */

import { describe, expect, test } from 'vitest'
import type { TcpSettings } from '../../src/tcp/index.ts'
import type { Fault } from './fault-link.ts'
import { parseSeedRange, runSeeds } from './run-seeds.ts'
import { type EndParameters, type ScenarioResult, runScenario } from './scenario.ts'
import { SCENARIOS } from './scenarios.ts'

const { NETKIT_TCP_SEEDS = '0..150' } = process.env
const seeds = parseSeedRange(NETKIT_TCP_SEEDS)

describe('each byte once and in order, or an honest timeout', () => {
  test.each(SCENARIOS)('%s', { timeout: 120_000 }, (name) => {
    expect(runSeeds(name, seeds).failures).toEqual([])
  })
})

/** `bytes` one way, `delayMs` each way, no bottleneck. */
function transfer(
  bytes: number,
  delayMs: number,
  faults: readonly Fault[],
  tcp: TcpSettings = {},
): ScenarioResult {
  const end = (index: 0 | 1): EndParameters => ({
    isn: 1000 * index,
    timestampOffset: 0,
    tcp,
    bytes: index === 0 ? bytes : 0,
    writeBytes: 65_536,
    writeEveryMs: 0,
    readPer10Ms: null,
    resetAtMs: null,
    faults: index === 0 ? faults : [],
  })
  const result = runScenario({
    name: 'progress',
    seed: 7,
    mss: 1460,
    delayMs,
    batchMs: 0,
    lossless: false,
    ends: [end(0), end(1)],
    mayTimeOut: false,
  })
  expect(result.problems).toEqual([])
  return result
}

/**
 * The stated bound: on fixed seeds a transfer is done within a multiple of what the wire needs at least. A sender that falls
 * back to its timer for what an ACK could have told, or waits for an ACK that is never sent, misses it by far.
 */
describe('progress', () => {
  test('a clean megabyte at 20 ms takes the round trips of slow start: ten segments, then twice as many each time', () => {
    // 10, 20, 40 … segments: 718 of them need 7 round trips; the handshake and the close one each, half a one to arrive.
    expect(transfer(1_000_000, 10, []).elapsedMs).toBeLessThanOrEqual(20 * 10)
  })

  test('a megabyte in small pieces to a peer that acknowledges late is not slower', () => {
    expect(transfer(1_000_000, 10, [], { nagle: true }).elapsedMs).toBeLessThanOrEqual(20 * 10 + 40)
  })

  test('at 1 % loss throughput is that of the formula of Mathis, MSS · 1.22 / (RTT · √p), or at most a third below', () => {
    const { elapsedMs, timeouts } = transfer(5_000_000, 10, [{ kind: 'loss', rate: 0.01 }])
    const bytesPerMs = (1448 * 1.22) / (20 * Math.sqrt(0.01))
    expect(elapsedMs).toBeLessThanOrEqual((1.5 * 5_000_000) / bytesPerMs)
    expect(timeouts).toBeLessThanOrEqual(3)
  })

  test('reordering within a round trip costs no timeout', () => {
    const { timeouts } = transfer(5_000_000, 10, [{ kind: 'reorder', rate: 0.1, byMs: 5 }])
    expect(timeouts).toBe(0)
  })

  test('a wire that is dark for a second costs little more than that second', () => {
    const faults = [{ kind: 'goes-dark', bytes: 1_000_000, forMs: 1000 }] as const
    expect(transfer(3_000_000, 1, faults).elapsedMs).toBeLessThanOrEqual(1000 + 1700)
  })
})
