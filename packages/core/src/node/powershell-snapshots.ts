/**
 * One PowerShell that is kept running and prints what it was told to watch: a line of JSON at the start and after each change.
 * Starting a PowerShell takes a second or two; one that stays costs nothing while nothing changes.
 */

import type { Clock } from '../clock.ts'
import type { StartProcess } from './host-process.ts'
import { keepProcess } from './kept-process.ts'

/** Options of `powershellSnapshots`. */
export interface PowershellSnapshotsOptions<Snapshot> {
  start: StartProcess
  clock: Clock
  /** Ends when the process `%PARENT%`, which is put in its place, has ended. */
  script: string
  /** Runs for each line that says something else than the last. The script's own; nothing of it is checked. */
  onSnapshot: (snapshot: Snapshot) => void
  /** PowerShell ended, or could not be started; it is started again. */
  onGap: () => void
}

/** Keeps the script running; returns what ends it for good. */
export function powershellSnapshots<Snapshot>(
  options: PowershellSnapshotsOptions<Snapshot>,
): () => void {
  const { start, clock, script, onSnapshot, onGap } = options
  let rest = ''
  let last = ''
  return keepProcess({
    start,
    clock,
    command: 'powershell.exe',
    args: [
      '-NoLogo',
      '-NoProfile',
      '-NonInteractive',
      '-Command',
      script.replace('%PARENT%', String(process.pid)),
    ],
    onOutput(text) {
      const lines = (rest + text).split(/\r?\n/)
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const snapshot = line === last ? undefined : parseLine(line)
        if (snapshot === undefined) continue
        last = line
        onSnapshot(snapshot as Snapshot)
      }
    },
    onGap() {
      rest = ''
      onGap()
    },
  })
}

// Warnings and progress of PowerShell come between the lines.
function parseLine(line: string): unknown {
  if (!line.startsWith('{')) return undefined
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
