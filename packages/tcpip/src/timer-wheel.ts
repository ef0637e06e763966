/**
 * One timer wheel per engine on one `Clock.after`: arming and disarming cost a few assignments, whatever the number of
 * connections.
 *
 * ```
 *            tick                     4096 slots of 1 ms
 *   ──▐─┬─▐──┬────▐──────────▐▐───────┬──────────────▐ ──┐
 *     past   └ next alarm             timers due then    └ timers beyond the wheel's 4 s wait in the last slot
 *                                                          and are dealt out again when it comes up
 * ```
 *
 * A timer that is armed again for later keeps its slot and only notes its new deadline: the slot finds out when its time
 * comes. That is the life of a retransmission timer, which every ACK arms anew and which almost never fires.
 * Timers fire at their deadline or up to a tick after it, never before.
 */

import type { Clock, Timer } from '@netkit/core'

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

const SLOTS = 4096
const WORDS = SLOTS / 32

class Entry implements WheelTimer {
  readonly #wheel: ClockTimerWheel
  readonly run: () => void
  /** The tick at which to fire. */
  deadline = 0
  /** The tick of the slot it lies in, at most `deadline`; 0: in no slot. */
  slotTick = 0
  armed = false
  next: Entry | undefined
  previous: Entry | undefined

  constructor(wheel: ClockTimerWheel, run: () => void) {
    this.#wheel = wheel
    this.run = run
  }

  arm(ms: number): void {
    this.#wheel.arm(this, ms)
  }

  disarm(): void {
    this.#wheel.disarm(this)
  }
}

/**
 * The wheel on a clock.
 *
 * @example
 * ```ts
 * import { systemClock } from '@netkit/core'
 * import { ClockTimerWheel } from '@netkit/tcpip'
 *
 * const wheel = new ClockTimerWheel(systemClock)
 * const timer = wheel.timer(() => {})
 * timer.arm(200)
 * console.assert(timer.armed && wheel.armed === 1)
 * timer.disarm()
 * console.assert(wheel.armed === 0)
 * ```
 */
export class ClockTimerWheel implements TimerWheel {
  readonly #clock: Clock
  readonly #origin: number
  readonly #slots: (Entry | undefined)[] = Array.from({ length: SLOTS }, () => undefined)
  /** One bit per slot that is not empty. */
  readonly #occupied = new Int32Array(WORDS)
  /** The last tick whose slot was run. */
  #tick = 0
  #armed = 0
  #alarm: Timer | undefined
  #alarmTick = Infinity
  readonly #before: (() => void) | undefined
  readonly #ring = (): void => this.#advance()

  /** @param before - Runs before timers fire. */
  constructor(clock: Clock, before?: () => void) {
    this.#clock = clock
    this.#before = before
    this.#origin = clock.now()
  }

  /** Timers that are set. */
  get armed(): number {
    return this.#armed
  }

  timer(run: () => void): WheelTimer {
    return new Entry(this, run)
  }

  /** See `WheelTimer.arm`. @internal */
  arm(entry: Entry, ms: number): void {
    const now = this.#clock.now() - this.#origin
    // An empty wheel has no slots to run: it starts from now. Deadlines are rounded up, so that no timer fires early.
    if (this.#armed === 0) this.#tick = Math.max(this.#tick, Math.floor(now))
    const deadline = Math.max(Math.ceil(now + ms), this.#tick + 1)
    entry.deadline = deadline
    if (entry.armed) {
      if (entry.slotTick !== 0 && entry.slotTick <= deadline) return
      this.#unlink(entry)
    } else {
      entry.armed = true
      this.#armed++
    }
    this.#link(entry)
  }

  /** See `WheelTimer.disarm`. @internal */
  disarm(entry: Entry): void {
    if (!entry.armed) return
    entry.armed = false
    this.#unlink(entry)
    if (--this.#armed === 0) this.#cancelAlarm()
  }

  #link(entry: Entry): void {
    const slotTick = Math.min(entry.deadline, this.#tick + SLOTS - 1)
    const slot = slotTick % SLOTS
    const head = this.#slots[slot]
    entry.slotTick = slotTick
    entry.previous = undefined
    entry.next = head
    if (head !== undefined) head.previous = entry
    this.#slots[slot] = entry
    this.#occupied[slot >>> 5] = (this.#occupied[slot >>> 5] ?? 0) | (1 << (slot & 31))
    if (slotTick < this.#alarmTick) this.#setAlarm(slotTick)
  }

  #unlink(entry: Entry): void {
    if (entry.slotTick === 0) return
    const slot = entry.slotTick % SLOTS
    const { next, previous } = entry
    if (next !== undefined) next.previous = previous
    if (previous !== undefined) previous.next = next
    else {
      this.#slots[slot] = next
      if (next === undefined) {
        this.#occupied[slot >>> 5] = (this.#occupied[slot >>> 5] ?? 0) & ~(1 << (slot & 31))
      }
    }
    entry.next = undefined
    entry.previous = undefined
    entry.slotTick = 0
  }

  #setAlarm(tick: number): void {
    this.#alarm?.cancel()
    this.#alarmTick = tick
    const ms = tick + this.#origin - this.#clock.now()
    this.#alarm = this.#clock.after(Math.max(0, ms), this.#ring)
  }

  #cancelAlarm(): void {
    this.#alarm?.cancel()
    this.#alarm = undefined
    this.#alarmTick = Infinity
  }

  #advance(): void {
    this.#alarm = undefined
    this.#alarmTick = Infinity
    this.#before?.()
    const now = Math.floor(this.#clock.now() - this.#origin)
    // After a long pause every slot is due at most once; the rest of the ticks has nothing in it.
    while (this.#armed > 0) {
      const tick = this.#nextTick()
      if (tick > now) break
      this.#tick = tick
      this.#runSlot(tick)
    }
    this.#tick = Math.max(this.#tick, now)
    if (this.#armed > 0) {
      const tick = this.#nextTick()
      if (tick < this.#alarmTick) this.#setAlarm(tick)
    }
  }

  #runSlot(tick: number): void {
    const slot = tick % SLOTS
    for (;;) {
      const entry = this.#slots[slot]
      if (entry === undefined || entry.slotTick !== tick) return
      this.#unlink(entry)
      if (entry.deadline > tick) {
        this.#link(entry)
      } else {
        entry.armed = false
        this.#armed--
        entry.run()
      }
    }
  }

  /** The tick of the first slot after `#tick` that is not empty; `Infinity` where all are empty. */
  #nextTick(): number {
    const first = (this.#tick + 1) % SLOTS
    for (let step = 0; step <= WORDS; step++) {
      const word = ((first >>> 5) + step) % WORDS
      let bits = this.#occupied[word] ?? 0
      if (step === 0) bits &= -1 << (first & 31)
      else if (step === WORDS) bits &= ~(-1 << (first & 31))
      if (bits === 0) continue
      const slot = word * 32 + 31 - Math.clz32(bits & -bits)
      return this.#tick + 1 + ((slot - first + SLOTS) % SLOTS)
    }
    return Infinity
  }
}
