/** Runs a program of the host to its end. */

import { spawn } from 'node:child_process'
import { NetkitError } from '@netkit/core'
import type { ExecResult } from './guest.ts'

/** What `runCommand` may be told. */
export interface RunOptions {
  cwd?: string
  env?: NodeJS.ProcessEnv
  /** Written to standard input, which then ends. */
  input?: Uint8Array | string
  timeoutMs: number
}

/** What the program wrote, in bytes. */
export interface CommandResult {
  /** Exit status; 128 + 9 when it was killed at its time-out. */
  readonly code: number
  readonly stdout: Buffer
  readonly stderr: string
  readonly timedOut: boolean
}

/** Runs `file` and collects its output. Rejects only when it cannot be started. */
export function runCommand(
  file: string,
  args: readonly string[],
  options: RunOptions,
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      child.kill('SIGKILL')
    }, options.timeoutMs)
    child.on('error', (cause) => {
      clearTimeout(timer)
      reject(
        new NetkitError(
          'NETKIT_COMMAND_FAILED',
          `${file} could not be started: ${cause.message}. Is it installed?`,
          { cause },
        ),
      )
    })
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
    // A program that ends without reading its input is no failure of ours.
    child.stdin.on('error', () => {})
    child.stdin.end(options.input ?? '')
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({
        code: code ?? 137,
        stdout: Buffer.concat(stdout),
        stderr: Buffer.concat(stderr).toString(),
        timedOut,
      })
    })
  })
}

/** Runs `file` and rejects with its output when it fails. */
export async function requireCommand(
  file: string,
  args: readonly string[],
  options: RunOptions,
): Promise<Buffer> {
  const result = await runCommand(file, args, options)
  if (result.code === 0) return result.stdout
  throw new NetkitError(
    'NETKIT_COMMAND_FAILED',
    `${[file, ...args].join(' ')} ${result.timedOut ? `was ended after ${options.timeoutMs / 1000} s` : `failed with status ${result.code}`}:\n${result.stderr.trim()}`,
  )
}

/** The result as a guest's `exec` gives it. */
export function asExecResult(result: CommandResult): ExecResult {
  return { code: result.code, stdout: result.stdout.toString() }
}
