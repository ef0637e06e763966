/** A load: one operation over and over, each with a result that is known beforehand. */

import { setTimeout as delay } from 'node:timers/promises'
import type { FaultKind, FaultSchedule } from './faults.ts'

/** What is done over and over. */
export interface Load {
  readonly name: string
  /** How many do it at the same time. */
  readonly workers: number
  /** Faults that may break it. All others must not. */
  readonly disturbedBy: readonly FaultKind[]
  /** Between two operations, `ms`; default none. */
  readonly pauseMs?: number
  /** Bytes that one operation moves. */
  readonly bytes: number
  /**
   * Once; gives what came back. An operation that failed on its way (refused, reset, out of time) throws; one that came to an end
   * must have come to the right one.
   */
  once(): Promise<string>
  /** What must come back. */
  readonly expected: string
}

/** What a load did. */
export interface LoadResult {
  readonly load: Load
  done: number
  /** Failed while a fault that may break it was there. */
  disturbed: number
  /** Failed without one: each is a defect. */
  readonly failures: string[]
  /** Ended with the wrong result: each is a defect. */
  readonly wrong: string[]
  /** When the last good one ended. */
  lastGood: number
}

/** Failures that are kept in words. */
const MOST_WORDS = 5
/** Pause after a failure, `ms`: what is down shall not be asked a thousand times. */
const PAUSE_MS = 200

/** Runs a load until `signal`. Resolves when the last operation is over. */
export async function runLoad(
  load: Load,
  schedule: FaultSchedule,
  signal: AbortSignal,
): Promise<LoadResult> {
  const result: LoadResult = { load, done: 0, disturbed: 0, failures: [], wrong: [], lastGood: 0 }
  const worker = async (): Promise<void> => {
    while (!signal.aborted) {
      const from = performance.now()
      try {
        const got = await load.once()
        if (got === load.expected) {
          result.done++
          result.lastGood = performance.now()
        } else result.wrong.push(got.slice(0, 200))
        if (load.pauseMs !== undefined) await delay(load.pauseMs)
      } catch (error) {
        if (schedule.met(load.disturbedBy, from, performance.now())) result.disturbed++
        else result.failures.push(String(error).slice(0, 300))
        await delay(PAUSE_MS)
      }
    }
  }
  await Promise.all(Array.from({ length: load.workers }, worker))
  return result
}

/** The first few of them, for people. */
export const inWords = (texts: readonly string[]): string =>
  texts.slice(0, MOST_WORDS).join('\n    ') +
  (texts.length > MOST_WORDS ? `\n    … and ${texts.length - MOST_WORDS} more` : '')
