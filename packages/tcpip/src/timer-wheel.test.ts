import { seededRandom } from '@netkit/core'
import { expect, test } from 'vitest'
import { VirtualClock } from '../test/simulator/virtual-clock.ts'
import { ClockTimerWheel } from './timer-wheel.ts'

test('timers fire at their deadline or within a tick of it, never before', () => {
  const clock = new VirtualClock()
  const wheel = new ClockTimerWheel(clock)
  const random = seededRandom(3)
  const late: number[] = []
  for (let i = 0; i < 2000; i++) {
    const ms = random.unit() ** 4 * 100_000
    const due = clock.now() + ms
    wheel.timer(() => late.push(clock.now() - due)).arm(ms)
    clock.advance(random.unit() * 3)
  }
  clock.advance(200_000)
  expect(late.length).toBe(2000)
  expect(Math.min(...late)).toBeGreaterThanOrEqual(0)
  expect(Math.max(...late)).toBeLessThanOrEqual(1.001)
  expect([wheel.armed, clock.next]).toEqual([0, Infinity])
})

test('arming again replaces, for earlier and for later', () => {
  const clock = new VirtualClock()
  const wheel = new ClockTimerWheel(clock)
  const fired: number[] = []
  const timer = wheel.timer(() => fired.push(clock.now()))
  timer.arm(100)
  timer.arm(500)
  clock.advance(499)
  expect(fired).toEqual([])
  timer.arm(9000)
  timer.arm(50)
  clock.advance(20_000)
  expect(fired).toEqual([549])
})

test('a disarmed timer does not fire, and an empty wheel asks nothing of the clock', () => {
  const clock = new VirtualClock()
  const wheel = new ClockTimerWheel(clock)
  const timer = wheel.timer(() => expect.unreachable())
  timer.arm(10)
  expect(timer.armed).toBe(true)
  timer.disarm()
  timer.disarm()
  expect([timer.armed, wheel.armed, clock.next]).toEqual([false, 0, Infinity])
  clock.advance(100)
})

test('a timer may arm itself and others while it fires', () => {
  const clock = new VirtualClock()
  const wheel = new ClockTimerWheel(clock)
  let runs = 0
  let others = 0
  const other = wheel.timer(() => others++)
  const timer = wheel.timer(() => {
    if (++runs < 10) timer.arm(0)
    other.arm(50)
  })
  timer.arm(1)
  clock.advance(100)
  expect([runs, others, wheel.armed]).toEqual([10, 1, 0])
})

test('two hours are one alarm of the clock every four seconds at most', () => {
  const clock = new VirtualClock()
  let alarms = 0
  const wheel = new ClockTimerWheel({
    now: () => clock.now(),
    wall: () => clock.wall(),
    defer: (run) => clock.defer(run),
    yield: (run) => clock.yield(run),
    after: (ms, run) => {
      alarms++
      return clock.after(ms, run)
    },
  })
  let at = 0
  wheel.timer(() => (at = clock.now())).arm(7_200_000)
  clock.advance(8_000_000)
  expect(at).toBe(7_200_000)
  expect(alarms).toBeLessThan(1800)
})

test('after a long pause everything due fires once, in order', () => {
  const clock = new VirtualClock()
  let now = 0
  const pausing = {
    now: () => now,
    wall: () => now,
    defer: (run: () => void) => clock.defer(run),
    yield: (run: () => void) => clock.yield(run),
    after: (ms: number, run: () => void) => clock.after(ms, run),
  }
  const wheel = new ClockTimerWheel(pausing)
  const fired: number[] = []
  for (const ms of [5000, 10, 900_000, 4096, 300]) wheel.timer(() => fired.push(ms)).arm(ms)
  now = 1_000_000
  clock.advance(10)
  expect(fired).toEqual([10, 300, 4096, 5000, 900_000])
})
