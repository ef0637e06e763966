import type { TestOptions } from 'vitest'

/** Options of a test or suite that does not run when there is a reason; the reporter names the reason at the end of the run. */
export function unless(skipReason: string | undefined): TestOptions {
  return { skip: skipReason !== undefined, meta: { skipReason } }
}
