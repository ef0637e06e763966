/**
 * The command's one way of talking: text for people, one JSON object per line for programs (`--json`).
 * Results go to standard output, progress and errors to standard error.
 */

import type { Writable } from 'node:stream'
import { errorCode, isNetkitError } from '@netkit/core'

/** Anything that JSON carries. */
export type EventFields = Record<string, unknown>

/** Where the command's output goes. */
export interface ReporterStreams {
  readonly stdout: Writable
  readonly stderr: Writable
}

/** Tells what happens. */
export interface Reporter {
  readonly json: boolean
  /** An event: `text` for people (none: machines only), `fields` for programs. */
  event(name: string, fields: EventFields, text?: string): void
  /** Something that takes a while: people see it, programs get an event. */
  progress(text: string): void
  /** What went wrong, and what to do. */
  error(error: unknown): void
}

/** The message for a person; unknown failures keep their stack out of sight. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Makes the reporter of one run. */
export function createReporter(streams: ReporterStreams, options: { json: boolean }): Reporter {
  const line = (name: string, fields: EventFields): void => {
    streams.stdout.write(`${JSON.stringify({ event: name, ...fields })}\n`)
  }
  return {
    json: options.json,
    event(name, fields, text) {
      if (options.json) line(name, fields)
      else if (text !== undefined) streams.stdout.write(`${text}\n`)
    },
    progress(text) {
      if (options.json) line('progress', { text })
      else streams.stderr.write(`${text}\n`)
    },
    error(error) {
      if (options.json) line('error', { message: errorText(error), code: errorCode(error) })
      else
        streams.stderr.write(
          `netkit: ${errorText(error)}${isNetkitError(error) ? ` [${error.code}]` : ''}\n`,
        )
    },
  }
}
