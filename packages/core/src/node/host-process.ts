/** Programs of the host that are asked for its configuration: injected, so that recorded output tests them on any OS. */

import { spawn } from 'node:child_process'
import { plainEnvironment } from './host-command.ts'

/** A running program. */
export interface HostProcess {
  /** Writes to its standard input. */
  write(text: string): void
  /** Gives its standard output, piece by piece. */
  onOutput(run: (text: string) => void): void
  /** Runs once when it has ended, or could not be started. */
  onExit(run: () => void): void
  /** Ends it. Idempotent. */
  kill(): void
}

/** Starts a program, without a shell. Never throws: a program that cannot be started exits. */
export type StartProcess = (command: string, args: readonly string[]) => HostProcess

/** Starts programs of this host. */
export const startProcess: StartProcess = (command, args) => {
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: plainEnvironment(),
    windowsHide: true,
  })
  child.unref()
  child.stdout.setEncoding('utf8')
  child.stdin.on('error', () => {})
  return {
    write: (text) => void child.stdin.write(text),
    onOutput: (run) => void child.stdout.on('data', run),
    onExit: (run) => {
      child.on('error', run)
      child.on('close', run)
    },
    kill: () => void child.kill(),
  }
}

/** Runs a program to its end and gives its output; `undefined` when it cannot be started. */
export function runProcess(
  start: StartProcess,
  command: string,
  args: readonly string[],
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = start(command, args)
    let output: string | undefined
    child.onOutput((text) => {
      output = (output ?? '') + text
    })
    child.onExit(() => resolve(output))
  })
}
