/**
 * A program that is kept running to tell of changes, and started again when it ends: after 1 s, then 2, 4, … 60 s; a program that
 * lived for a minute starts over at 1 s.
 */

import type { Clock, Timer } from '../clock.ts'
import type { HostProcess, StartProcess } from './host-process.ts'
import { FIRST_RESTART_MS, LAST_RESTART_MS } from './limits.ts'

/** Options of `keepProcess`. */
export interface KeepProcessOptions {
  start: StartProcess
  clock: Clock
  command: string
  args: readonly string[]
  /** Written to each new process. */
  input?: string
  onOutput: (text: string) => void
  /** It ended and will be started again: whatever it would have told is not known. */
  onGap?: () => void
}

/** Keeps a program running; returns what ends it for good. */
export function keepProcess(options: KeepProcessOptions): () => void {
  const { start, clock, command, args, input, onOutput, onGap } = options
  let delay = FIRST_RESTART_MS
  let child: HostProcess | undefined
  let timer: Timer | undefined
  let closed = false
  const begin = (): void => {
    const startedAt = clock.now()
    let over = false
    child = start(command, args)
    child.onOutput(onOutput)
    child.onExit(() => {
      if (over || closed) return
      over = true
      if (clock.now() - startedAt >= LAST_RESTART_MS) delay = FIRST_RESTART_MS
      timer = clock.after(delay, begin)
      delay = Math.min(2 * delay, LAST_RESTART_MS)
      onGap?.()
    })
    if (input !== undefined) child.write(input)
  }
  begin()
  return () => {
    closed = true
    timer?.cancel()
    child?.kill()
  }
}
