/** What the declarations of all commands share: how one is run, and how repeated and parsed values are taken. */

import { InvalidArgumentError, Option } from 'commander'
import type { ExitCode } from './exit-codes.ts'
import { errorText, type Reporter } from './reporter.ts'

/** Runs a command with the reporter that its options ask for, until it ends or SIGINT or SIGTERM aborts its signal. */
export type Execute = (
  options: { readonly json?: true },
  command: (reporter: Reporter, signal: AbortSignal) => Promise<ExitCode>,
) => Promise<void>

/** Options as a command gets them, with the one that all commands have. */
export type WithJson<T> = T & { readonly json?: true }

/** `--json`, which every command has. */
export const jsonOption = (): Option =>
  new Option('--json', 'one JSON object per line instead of text')

/** An option that may be given more than once. */
export const collect = (value: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  value,
]

/** An option, given once or more, whose values are read by `parse`; what it throws is a usage error. */
export function collectParsed<T>(
  parse: (value: string) => T,
): (value: string, before?: readonly T[]) => readonly T[] {
  return (value, before = []) => {
    try {
      return [...before, parse(value)]
    } catch (error) {
      throw new InvalidArgumentError(errorText(error))
    }
  }
}
