/** How the tour looks on a terminal. */

import { styleText } from 'node:util'
import type { GuestKind, GuestOption, TourResult } from '@netkit/guests'

const marks: Record<TourResult['outcome'], string> = {
  passed: styleText('green', '✓'),
  failed: styleText('red', '✗'),
  skipped: styleText('yellow', '–'),
}

function duration(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`
}

/** One step: mark, title, time, what was seen. */
export function tourLine({ outcome, title, durationMs, detail }: TourResult): string {
  return `${marks[outcome]} ${title.padEnd(36)} ${duration(durationMs).padStart(8)}  ${detail}`
}

/** The last lines: how it went, and how to get a better guest. */
export function tourSummary(
  results: readonly TourResult[],
  guest: GuestKind,
  better: readonly GuestOption[],
  totalMs: number,
): string {
  const count = (outcome: TourResult['outcome']): number =>
    results.filter((result) => result.outcome === outcome).length
  const failed = count('failed')
  const skipped = count('skipped')
  return [
    '',
    `${count('passed')} of ${results.length} steps passed` +
      `${failed > 0 ? `, ${failed} failed` : ''}${skipped > 0 ? `, ${skipped} skipped` : ''}` +
      ` in ${duration(totalMs)} with the ${guest} guest.`,
    ...better.map(
      ({ kind, missing, advice }) => `A ${kind} guest would be better: ${missing}. ${advice}`,
    ),
  ].join('\n')
}
