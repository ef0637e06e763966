/** One timer wheel per engine on one `Clock.after`. */

/** A timer of the wheel; one object per concern of a connection, armed again and again without allocation. */
export interface WheelTimer {
  readonly armed: boolean
  /** Sets it to fire `ms` from now, replacing what was set. */
  arm(ms: number): void
  disarm(): void
}

/** Many timers on one. */
export interface TimerWheel {
  /** Makes a timer that runs `run` when it fires. */
  timer(run: () => void): WheelTimer
}
