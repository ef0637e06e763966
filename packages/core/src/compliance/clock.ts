/** What every `Clock` must do. */

import type { Clock } from '../clock.ts'
import { assert, assertEqual } from './expectations.ts'
import { defineSuite } from './runner.ts'
import type { ComplianceOptions, ComplianceRunner } from './runner.ts'

/** A clock, and how time passes on it. */
export interface ClockSubject {
  readonly clock: Clock
  /** Lets at least `ms` pass, and everything run that falls due meanwhile. */
  readonly pass: (ms: number) => Promise<void>
}

const cases: Readonly<Record<string, (subject: ClockSubject) => Promise<void>>> = {
  'now() and wall() move forward together': async ({ clock, pass }) => {
    const [now, wall] = [clock.now(), clock.wall()]
    await pass(20)
    const passed = clock.now() - now
    assert(passed >= 19, 'now() has moved')
    // Civil time has whole milliseconds, and a busy machine takes its time between the two readings.
    const civil = clock.wall() - wall
    assert(civil >= 18 && civil < passed + 1000, `wall() has moved as far, and not ${civil} ms`)
  },

  'a timer runs once, when its time has come, and not within after()': async ({ clock, pass }) => {
    let runs = 0
    clock.after(10, () => runs++)
    clock.after(0, () => runs++)
    assertEqual(runs, 0, 'runs within after()')
    await pass(30)
    assertEqual(runs, 2, 'runs')
    await pass(30)
    assertEqual(runs, 2, 'runs later')
  },

  'timers run in the order of their times': async ({ clock, pass }) => {
    const order: number[] = []
    for (const ms of [30, 10, 20]) clock.after(ms, () => order.push(ms))
    await pass(60)
    assertEqual(order, [10, 20, 30], 'order')
  },

  'a timer that is cancelled does not run; cancelling is idempotent': async ({ clock, pass }) => {
    let runs = 0
    const timer = clock.after(5, () => runs++)
    timer.cancel()
    timer.cancel()
    const late = clock.after(1, () => {})
    await pass(20)
    late.cancel()
    assertEqual(runs, 0, 'runs')
  },

  'defer runs after the call stack, before any timer': async ({ clock, pass }) => {
    const order: string[] = []
    clock.after(0, () => order.push('timer'))
    clock.defer(() => order.push('deferred'))
    order.push('stack')
    await pass(5)
    assertEqual(order, ['stack', 'deferred', 'timer'], 'order')
  },

  'yield lets deferred work go first': async ({ clock, pass }) => {
    const order: string[] = []
    clock.yield(() => order.push('yielded'))
    clock.defer(() => {
      order.push('deferred')
      clock.defer(() => order.push('deferred again'))
    })
    await pass(5)
    assertEqual(order, ['deferred', 'deferred again', 'yielded'], 'order')
  },
}

/** Runs the suite. */
export function clockCompliance(
  runner: ComplianceRunner,
  options: ComplianceOptions<ClockSubject>,
): void {
  defineSuite(runner, 'Clock', options, cases)
}
