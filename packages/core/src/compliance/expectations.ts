/** Assertions of the suites, without a test runner's. */

import { errorCode } from '../errors.ts'

/** Fails with `message` unless `condition` holds. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}

/** Fails unless both print the same as JSON. */
export function assertEqual(actual: unknown, expected: unknown, what: string): void {
  const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)]
  assert(a === e, `${what}: expected ${e}, got ${a}`)
}

/** The error a promise rejects with; fails when it resolves. */
export async function rejection(promise: Promise<unknown>, what: string): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error(`${what}: expected a rejection`)
}

/** Fails unless the promise rejects with one of the codes; returns the error. */
export async function assertRejects(
  promise: Promise<unknown>,
  codes: readonly string[],
  what: string,
): Promise<Record<string, unknown>> {
  const error = await rejection(promise, what)
  const code = errorCode(error)
  assert(
    code !== undefined && codes.includes(code),
    `${what}: expected ${codes.join(' or ')}, got ${String(error)}`,
  )
  return error as Record<string, unknown>
}

/** A promise with its handle. */
export class Deferred<T> {
  readonly promise: Promise<T>
  resolve: (value: T) => void = () => {}

  constructor() {
    this.promise = new Promise((resolve) => {
      this.resolve = resolve
    })
  }
}
