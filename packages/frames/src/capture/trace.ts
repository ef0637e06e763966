/** A readable line per frame, handed to whoever asked; nothing is printed. */

import { systemClock } from '@netkit/core'
import type { Clock } from '@netkit/core'
import type { FrameLink } from '../frame-link.ts'
import { observedLink } from '../link/observed-link.ts'
import { describeFrame } from './describe-frame.ts'

/** Options of `trace`. */
export interface TraceOptions {
  /** Gets each line, without a line end. */
  line: (text: string) => void
  /** Stands at the start of each line. Default none. */
  name?: string
  /** Times are `ms` since `trace` was called. Default the platform's. */
  clock?: Clock
}

/**
 * The same link, with a line for each frame (`<` comes in, `>` goes out) and each change of state.
 *
 * @example
 * ```ts
 * import { memoryLinkPair, trace } from '@netkit/frames'
 *
 * const lines: string[] = []
 * const [a] = memoryLinkPair()
 * const link = trace(a, { name: 'vm1', line: (text) => lines.push(text) })
 * const room = link.begin(60)
 * if (room) link.commit(60)
 * console.assert(/^vm1 +[\d.]+ > 00:00:00:00:00:00 > /.test(lines[0] ?? ''))
 * ```
 */
export function trace(link: FrameLink, options: TraceOptions): FrameLink {
  const { line, name } = options
  const clock = options.clock ?? systemClock
  const start = clock.now()
  const write = (text: string): void =>
    line(
      `${name === undefined ? '' : `${name} `}${(clock.now() - start).toFixed(3).padStart(10)} ${text}`,
    )
  return observedLink(link, {
    frame: (direction, block, offset, length) =>
      write(`${direction === 'in' ? '<' : '>'} ${describeFrame(block, offset, length)}`),
    stateChanged: (state, cause) =>
      write(`= ${state}${cause === undefined ? '' : `: ${cause.message}`}`),
  })
}
