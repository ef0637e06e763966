/**
 * Programs of the host, behind an interface: watchers of DNS and proxy settings, port holders and VPN facts ask the operating
 * system's own tools, and their tests ask a fake that answers from recordings of any operating system.
 */

import { spawn } from 'node:child_process'
import { NetkitError } from '../errors.ts'
import { COMMAND_OUTPUT_BYTES } from './limits.ts'

/** What a program printed and how it ended. */
export interface CommandResult {
  /** Exit status; `null` when a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs programs, never through a shell. */
export interface HostCommands {
  /**
   * Runs a program to its end. A status other than 0 is a result; rejects when it cannot be started (`ENOENT`), prints more than
   * 4 MiB (`NETKIT_COMMAND_OUTPUT`), or is aborted.
   */
  run(
    command: string,
    args: readonly string[],
    options?: { signal?: AbortSignal; input?: string },
  ): Promise<CommandResult>
}

/** What programs of the host run with whose words are read: in the user's language `ping` and its like say other ones. */
export const plainEnvironment = (): NodeJS.ProcessEnv => ({ ...process.env, LC_ALL: 'C' })

/** The host's own programs. */
export const hostCommands: HostCommands = {
  run(command, args, { signal, input } = {}) {
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        ...(signal && { signal }),
        env: plainEnvironment(),
        windowsHide: true,
      })
      const output = { stdout: '', stderr: '' }
      const collect = (name: 'stdout' | 'stderr') => (text: string) => {
        output[name] += text
        if (output[name].length <= COMMAND_OUTPUT_BYTES) return
        child.kill()
        reject(
          new NetkitError(
            'NETKIT_COMMAND_OUTPUT',
            `'${command}' printed more than ${COMMAND_OUTPUT_BYTES} bytes and was ended.`,
          ),
        )
      }
      child.stdout.setEncoding('utf8').on('data', collect('stdout'))
      child.stderr.setEncoding('utf8').on('data', collect('stderr'))
      child.on('error', (error) => reject(signal?.aborted ? (signal.reason as Error) : error))
      child.on('close', (code) => resolve({ code, ...output }))
      // A program that ends without reading its input is no failure.
      child.stdin.on('error', () => {})
      child.stdin.end(input)
    })
  },
}

/** An answer of a fake program: what it prints, or the whole result, or the error with which it cannot be started. */
export type FakeAnswer = string | Partial<CommandResult> | Error

/**
 * `HostCommands` from recordings. Keys are command lines (`netstat -ano`); a program that is not among them is `ENOENT`.
 * `calls` lists what was asked.
 *
 * @example
 * ```ts
 * import { fakeCommands } from '@netkit/core/node'
 *
 * const commands = fakeCommands({ 'scutil --proxy': '<dictionary> {}' })
 * console.assert((await commands.run('scutil', ['--proxy'])).stdout === '<dictionary> {}')
 * console.assert(commands.calls.join() === 'scutil --proxy')
 * ```
 */
export function fakeCommands(
  answers: Readonly<Record<string, FakeAnswer>>,
): HostCommands & { readonly calls: readonly string[] } {
  const calls: string[] = []
  const answer = (command: string, args: readonly string[]): CommandResult => {
    const line = [command, ...args].join(' ')
    calls.push(line)
    const found = answers[line]
    if (found === undefined) {
      throw Object.assign(new Error(`spawn ${command} ENOENT`), {
        code: 'ENOENT',
        syscall: `spawn ${command}`,
      })
    }
    if (found instanceof Error) throw found
    const result = { code: 0, stdout: '', stderr: '' }
    return typeof found === 'string' ? { ...result, stdout: found } : { ...result, ...found }
  }
  return {
    calls,
    async run(command, args, { signal } = {}) {
      signal?.throwIfAborted()
      return answer(command, args)
    },
  }
}
