import { describe, expect, test } from 'vitest'
import { Cubic } from './cubic.ts'
import { NewReno } from './newreno.ts'

const START = { mss: 1000, initialWindow: 10_000 }

describe('NewReno', () => {
  test('NewReno: slow start doubles, avoidance adds one segment per window', () => {
    const control = new NewReno(START)
    control.acknowledged(10_000)
    expect(control.window).toBe(20_000)
    control.lossDetected(20_000)
    expect([control.window, control.threshold]).toEqual([10_000, 10_000])
    control.acknowledged(9999)
    expect(control.window).toBe(10_000)
    control.acknowledged(1)
    expect(control.window).toBe(11_000)
  })

  test('slow start ends at the threshold, and the rest of the ACK counts for avoidance', () => {
    const control = new NewReno(START)
    control.lossDetected(24_000)
    control.timedOut(12_000, true)
    expect([control.window, control.threshold]).toEqual([1000, 6000])
    control.acknowledged(5000)
    expect(control.window).toBe(6000)
    control.acknowledged(6000)
    expect(control.window).toBe(7000)
  })

  test('a repeated timeout leaves the threshold where the first one put it', () => {
    const control = new NewReno(START)
    control.timedOut(20_000, true)
    control.timedOut(1000, false)
    expect([control.window, control.threshold]).toEqual([1000, 10_000])
  })

  test('never less than two segments after a loss', () => {
    const control = new NewReno(START)
    control.lossDetected(1000)
    expect(control.window).toBe(2000)
  })
})

/** One window acknowledged per round trip of 100 ms, for `seconds`. */
function run(control: Cubic, seconds: number, from = 0): number {
  for (let now = from; now < from + seconds * 1000; now += 100) {
    control.acknowledged(control.window, now, 100)
  }
  return control.window
}

describe('CUBIC', () => {
  test('CUBIC: after a loss the window returns to where it was along the curve', () => {
    const control = new Cubic({ mss: 1000, initialWindow: 100_000 })
    control.lossDetected(100_000)
    expect(control.window).toBe(70_000)
    // K = cbrt(100 · 0.3 / 0.4) = 4.2 s: the plateau.
    expect(run(control, 4.2) / 1000).toBeCloseTo(100, 0)
    expect(run(control, 4, 4200)).toBeGreaterThan(115_000)
  })

  test('it is never slower than Reno would be', () => {
    const control = new Cubic({ mss: 1000, initialWindow: 4000 })
    control.lossDetected(4000)
    const after = run(control, 5)
    expect(after).toBeGreaterThanOrEqual(2800 + 0.52 * 45 * 1000)
  })

  test('it stays finite and positive over hours without loss', () => {
    const control = new Cubic({ mss: 1000, initialWindow: 10_000 })
    control.lossDetected(10_000)
    for (let now = 0; now < 3_600_000; now += 1000) {
      const before = control.window
      control.acknowledged(Math.min(before, 1_000_000), now, 100)
      expect(control.window).toBeGreaterThanOrEqual(before)
      expect(Number.isFinite(control.window)).toBe(true)
    }
  })

  test('a flow that lost again before it was back gives way', () => {
    const control = new Cubic({ mss: 1000, initialWindow: 1_000_000 })
    control.lossDetected(1_000_000)
    control.lossDetected(700_000)
    expect(control.window).toBeCloseTo(490_000)
    // Fast convergence: the plateau is at 595 segments rather than at the 700 of the loss.
    expect(Math.abs(run(control, 6.4) / 1000 - 595)).toBeLessThan(10)
  })

  test('a timeout leaves one segment', () => {
    const control = new Cubic({ mss: 1000, initialWindow: 100_000 })
    control.timedOut(100_000, true)
    expect([control.window, control.threshold]).toEqual([1000, 70_000])
  })
})
