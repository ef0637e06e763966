/**
 * Time as a parameter. Logic takes a `Clock`; only the default one knows the platform.
 */

/** A timer that was set. */
export interface Timer {
  /** Idempotent; also after it ran. */
  cancel(): void
}

/** What logic may know of time. */
export interface Clock {
  /** Monotonic, `ms`, may have a fraction. */
  now(): number
  /** Civil time, `ms` since 1970. Compared with `now()` it shows sleep. */
  wall(): number
  /** Runs `run` once, `ms` from now. Does not keep a process alive. */
  after(ms: number, run: () => void): Timer
  /** Runs `run` after the current call stack (a microtask). */
  defer(run: () => void): void
  /** Runs `run` after pending I/O had its turn (a macrotask): for long work, every N frames. */
  yield(run: () => void): void
}

interface Scheduler {
  setTimeout(run: () => void, ms: number): unknown
  clearTimeout(handle: unknown): void
  setImmediate?: (run: () => void) => unknown
  queueMicrotask(run: () => void): void
  performance: { now(): number }
  Date: { now(): number }
}

// Looked up at every call, not at import: fake timers replace the globals later.
const platform = (): Scheduler => globalThis

/**
 * The platform's clock. Fake timers that replace the globals (vitest, jest, sinon) drive it.
 */
export const systemClock: Clock = {
  now: () => platform().performance.now(),
  wall: () => platform().Date.now(),
  after(ms, run) {
    const handle = platform().setTimeout(run, ms)
    ;(handle as { unref?: () => void }).unref?.()
    return { cancel: () => platform().clearTimeout(handle) }
  },
  defer: (run) => platform().queueMicrotask(run),
  yield(run) {
    const { setImmediate } = platform()
    if (setImmediate) setImmediate(run)
    else platform().setTimeout(run, 0)
  },
}
