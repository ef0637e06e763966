/** What the soak says at its end. */

import type { FaultTime } from './faults.ts'
import { inWords, type LoadResult } from './load.ts'
import { growthPerMinute, type MemorySample } from './memory.ts'

/** All that was seen. */
export interface SoakFindings {
  readonly ranMs: number
  readonly results: readonly LoadResult[]
  readonly faults: readonly FaultTime[]
  readonly samples: readonly MemorySample[]
  /** Descriptors that were open after the loads and not before them; empty: none. */
  readonly openAfter: string
  /** Where flows through the host's sockets still lead after the loads. */
  readonly flowsAfter: readonly string[]
  /** Descriptors that were open after everything was closed and not before it was opened. */
  readonly openAtTheEnd: string
}

/**
 * Memory after a collection may grow by this much, `bytes` per minute. What a flow or a datagram would leave behind shows: the loads
 * make more than three thousand a minute, so that 1 KiB for each is above it. Of the first two minutes, up to 1.2 MiB a minute are
 * caches that fill and code that is compiled; an hour shows how it goes on.
 */
export const GROWTH_LIMIT_PER_MINUTE: number = 2 << 20

const mebibytes = (bytes: number): string => (bytes / (1 << 20)).toFixed(1)
const secondsOf = (ms: number): string => (ms / 1000).toFixed(1)

/** The report, and whether all was as it must be. */
export function soakReport(findings: SoakFindings): { text: string; isGood: boolean } {
  const { ranMs, results, faults, samples } = findings
  const lines = [
    `soak: ${secondsOf(ranMs)} s`,
    '',
    'load                                          done   per s   MiB   broken by faults   failed   wrong',
  ]
  for (const { load, done, disturbed, failures, wrong } of results) {
    const cells = [
      String(done).padStart(6),
      (done / (ranMs / 1000)).toFixed(1).padStart(7),
      ((done * load.bytes) / (1 << 20)).toFixed(0).padStart(5),
      String(disturbed).padStart(18),
      String(failures.length).padStart(8),
      String(wrong.length).padStart(7),
    ]
    lines.push(`${load.name.padEnd(44)}${cells.join(' ')}`)
  }
  lines.push('', 'fault              times   longest, s')
  for (const kind of new Set(faults.map((fault) => fault.kind))) {
    const times = faults.filter((fault) => fault.kind === kind)
    const longest = Math.max(...times.map(({ from, to }) => to - from))
    lines.push(
      `${kind.padEnd(18)}${String(times.length).padStart(6)}${secondsOf(longest).padStart(13)}`,
    )
  }
  const growth = growthPerMinute(samples)
  const live = samples.map(({ liveBytes }) => liveBytes)
  const resident = samples.map(({ residentBytes }) => residentBytes)

  const checks: readonly (readonly [string, boolean, string])[] = [
    [
      'every result is the right one',
      results.every(({ wrong }) => wrong.length === 0),
      inWords(results.flatMap(({ load, wrong }) => wrong.map((text) => `${load.name}: ${text}`))),
    ],
    [
      'nothing fails but what a fault breaks',
      results.every(({ failures }) => failures.length === 0),
      inWords(
        results.flatMap(({ load, failures }) => failures.map((text) => `${load.name}: ${text}`)),
      ),
    ],
    [
      'every load goes on after the last fault',
      results.every(({ lastGood }) => lastGood > (faults.at(-1)?.to ?? 0)),
      inWords(
        results
          .filter(({ lastGood }) => lastGood <= (faults.at(-1)?.to ?? 0))
          .map(({ load }) => load.name),
      ),
    ],
    [
      'after the loads nothing is open that was not before',
      findings.openAfter === '' && findings.flowsAfter.length === 0,
      `${findings.openAfter}; flows: ${findings.flowsAfter.join(', ')}`,
    ],
    [
      'after the end nothing is open that was not before',
      findings.openAtTheEnd === '',
      findings.openAtTheEnd,
    ],
    [
      `memory grows by less than ${mebibytes(GROWTH_LIMIT_PER_MINUTE)} MiB a minute`,
      samples.length >= 3 && growth < GROWTH_LIMIT_PER_MINUTE,
      `${mebibytes(growth)} MiB a minute: ${live.map(mebibytes).join(' ')}`,
    ],
  ]
  lines.push(
    '',
    `memory after collections: ${mebibytes(Math.min(...live))} to ${mebibytes(Math.max(...live))} MiB live, ${mebibytes(growth)} MiB a minute; resident at most ${mebibytes(Math.max(...resident))} MiB`,
    '',
  )
  for (const [what, isGood, details] of checks)
    lines.push(isGood ? `ok      ${what}` : `FAILED  ${what}:\n    ${details}`)
  return { text: lines.join('\n'), isGood: checks.every(([, isGood]) => isGood) }
}
