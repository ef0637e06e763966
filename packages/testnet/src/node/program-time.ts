/**
 * Time inside `host.run`: timers, `Date`, `performance.now` and `AbortSignal.timeout` follow the net's clock, where the net has one.
 *
 * A program whose sockets lived in virtual time and whose timeouts in real time would see a quarter of an hour of retransmissions
 * pass before its own five seconds. `setImmediate` and microtasks take no time and stay as they are.
 */

import timers from 'node:timers'
import promises from 'node:timers/promises'
import { promisify } from 'node:util'
import { currentHost } from './context.ts'
import { realTimers } from './originals.ts'
import { ProgramTimer } from './program-timers.ts'
import type { ProgramTimers } from './program-timers.ts'

type Loose = (...args: unknown[]) => unknown
type Replaceable = Record<string, Loose>

const timersOfRun = (): ProgramTimers | undefined => currentHost()?.timers

let isHooked = false

/** Replaces the entry points, once. While fake timers are in place nothing is: what they replaced they will put back. */
export function hookTime(): void {
  if (isHooked || globalThis.setTimeout !== realTimers.setTimeout) return
  isHooked = true
  const hooked = hookedTimers()
  Object.assign(timers, hooked)
  Object.assign(globalThis, hooked)
  hookPromises()
  hookAbortSignal()
  hookClocks()
}

function hookedTimers(): Replaceable {
  const real = realTimers as unknown as Record<keyof typeof realTimers, Loose>
  const set = (name: 'setTimeout' | 'setInterval'): Loose => {
    const hooked: Loose = (run, ms, ...args) =>
      timersOfRun()?.set(run as Loose, ms, args, name === 'setInterval') ??
      real[name](run, ms, ...args)
    return hooked
  }
  const clear =
    (name: 'clearTimeout' | 'clearInterval'): Loose =>
    (timer) => {
      const virtual = timer instanceof ProgramTimer ? timer : timersOfRun()?.byId(timer)
      if (virtual === undefined) real[name](timer)
      else virtual.close()
    }
  const hooked = {
    setTimeout: set('setTimeout'),
    setInterval: set('setInterval'),
    clearTimeout: clear('clearTimeout'),
    clearInterval: clear('clearInterval'),
  }
  // promisify(setTimeout) is timers/promises' setTimeout.
  Object.defineProperty(hooked.setTimeout, promisify.custom, {
    get: () => promises.setTimeout,
    enumerable: true,
  })
  return hooked
}

interface WaitOptions {
  readonly signal?: AbortSignal
  readonly ref?: boolean
}

function hookPromises(): void {
  const real = { timeout: promises.setTimeout as Loose, interval: promises.setInterval as Loose }
  promises.setTimeout = function hooked(ms?: number, value?: unknown, options?: WaitOptions) {
    const ours = timersOfRun()
    return ours === undefined
      ? real.timeout(ms, value, options)
      : wait(ours, ms, options).then(() => value)
  } as typeof promises.setTimeout
  promises.setInterval = function hooked(ms?: number, value?: unknown, options?: WaitOptions) {
    const ours = timersOfRun()
    return ours === undefined ? real.interval(ms, value, options) : repeat(ours, ms, value, options)
  } as typeof promises.setInterval
}

function wait(
  ours: ProgramTimers,
  ms: number | undefined,
  { signal, ref }: WaitOptions = {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      timer.close()
      const cause = signal?.reason as unknown
      const error = new Error('The operation was aborted', { cause })
      reject(Object.assign(error, { name: 'AbortError', code: 'ABORT_ERR' }))
    }
    const done = (): void => {
      signal?.removeEventListener('abort', abort)
      resolve()
    }
    const timer = ours.set(done, ms, [], false)
    if (ref === false) timer.unref()
    if (signal?.aborted === true) abort()
    else signal?.addEventListener('abort', abort, { once: true })
  })
}

async function* repeat(
  ours: ProgramTimers,
  ms: number | undefined,
  value: unknown,
  options?: WaitOptions,
): AsyncGenerator {
  for (;;) {
    await wait(ours, ms, options)
    yield value
  }
}

function hookAbortSignal(): void {
  const real = AbortSignal.timeout.bind(AbortSignal)
  AbortSignal.timeout = function hooked(ms: number): AbortSignal {
    const ours = timersOfRun()
    if (ours === undefined) return real(ms)
    const controller = new AbortController()
    const late = new DOMException('The operation was aborted due to timeout', 'TimeoutError')
    ours.set(() => controller.abort(late), ms, [], false).unref()
    return controller.signal
  }
}

const nanoseconds = (ms: number): bigint => BigInt(Math.round(ms * 1e6))

function hookClocks(): void {
  const RealDate = Date
  const realNow = RealDate.now.bind(RealDate)
  const wall = (): number => timersOfRun()?.clock.wall() ?? realNow()
  RealDate.now = wall
  const HookedDate = new Proxy(RealDate, {
    construct: (target, args: unknown[], newTarget) =>
      Reflect.construct(target, args.length === 0 ? [wall()] : args, newTarget) as object,
    apply: (target) => new target(wall()).toString(),
  })
  globalThis.Date = HookedDate
  Object.assign(RealDate.prototype, { constructor: HookedDate })

  const realMonotonic = performance.now.bind(performance)
  performance.now = () => timersOfRun()?.clock.now() ?? realMonotonic()

  const realTime = process.hrtime.bind(process)
  const realBigint = process.hrtime.bigint.bind(process.hrtime)
  const hrtime = (before?: [number, number]): [number, number] => {
    const ours = timersOfRun()
    if (ours === undefined) return realTime(before)
    const ns = nanoseconds(ours.clock.now())
    const since = before === undefined ? 0n : BigInt(before[0]) * 1_000_000_000n + BigInt(before[1])
    return [Number((ns - since) / 1_000_000_000n), Number((ns - since) % 1_000_000_000n)]
  }
  const bigint = (): bigint => {
    const ours = timersOfRun()
    return ours === undefined ? realBigint() : nanoseconds(ours.clock.now())
  }
  process.hrtime = Object.assign(hrtime, { bigint })
}
