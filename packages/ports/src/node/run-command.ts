/** Running a small tool of the operating system and reading what it prints. */

import { execFile } from 'node:child_process'

/** Runs a command without a shell and resolves with its standard output; rejects when it cannot be started, fails, or is aborted. */
export type RunCommand = (
  command: string,
  args: readonly string[],
  signal: AbortSignal,
) => Promise<string>

/** Output beyond this is no answer to any question we ask, `bytes`. */
const MAX_OUTPUT_BYTES = 4 << 20

/** `RunCommand` on the host. */
export const runCommand: RunCommand = (command, args, signal) =>
  new Promise((resolve, reject) => {
    const options = {
      signal,
      maxBuffer: MAX_OUTPUT_BYTES,
      windowsHide: true,
      encoding: 'utf8',
    } as const
    execFile(command, args, options, (error, stdout) => {
      // lsof exits with 1 when it found nothing; that is an answer.
      if (error !== null && stdout === '') reject(error)
      else resolve(stdout)
    })
  })
