/**
 * One direction of a simulated wire, and the faults it can have. A fault looks at one segment on its way and may lose, delay,
 * repeat or damage it; faults compose in the order in which they are listed. All chance comes from one `Random`.
 */

import type { Clock, Random } from '@netkit/core'

/** A fault as data, so that a failing run can be written down and played again. Rates are probabilities, `0 … 1`. */
export type Fault =
  /** Loses segments at random. */
  | { readonly kind: 'loss'; readonly rate: number }
  /** Loses segments in bursts: once one is lost, the next one is lost with `stay`. */
  | { readonly kind: 'burst-loss'; readonly rate: number; readonly stay: number }
  /** Loses only segments without payload: ACKs, SYNs, FINs. */
  | { readonly kind: 'loses-empty'; readonly rate: number }
  /** After `bytes` have passed, nothing passes for `forMs`. */
  | { readonly kind: 'goes-dark'; readonly bytes: number; readonly forMs: number }
  /** Nothing passes between two times. */
  | { readonly kind: 'partition'; readonly fromMs: number; readonly untilMs: number }
  /** Delays some segments by up to `byMs`, so that others overtake them. */
  | { readonly kind: 'reorder'; readonly rate: number; readonly byMs: number }
  /** Delivers some segments twice. */
  | { readonly kind: 'duplicate'; readonly rate: number; readonly byMs: number }
  /** Flips one bit of some segments. */
  | { readonly kind: 'flip'; readonly rate: number }
  /** Passes `bytesPerMs`; what waits longer than `queueBytes` at that rate is lost. */
  | { readonly kind: 'bottleneck'; readonly bytesPerMs: number; readonly queueBytes: number }

/** A segment's passage. */
interface Passage {
  bytes: Uint8Array<ArrayBuffer>
  delayMs: number
  /** Of the second copy; -1: there is none. */
  copyDelayMs: number
}

type FaultRun = (passage: Passage) => 'pass' | 'lost'

/** Bytes of a TCP header: whatever is longer than its header has a payload. */
const hasPayload = (bytes: Uint8Array): boolean => bytes.length > ((bytes[12] ?? 0) >>> 4) * 4

function runFault(fault: Fault, clock: Clock, random: Random): FaultRun {
  switch (fault.kind) {
    case 'loss':
      return () => (random.unit() < fault.rate ? 'lost' : 'pass')
    case 'burst-loss': {
      let losing = false
      return () => {
        losing = random.unit() < (losing ? fault.stay : fault.rate)
        return losing ? 'lost' : 'pass'
      }
    }
    case 'loses-empty':
      return ({ bytes }) => (!hasPayload(bytes) && random.unit() < fault.rate ? 'lost' : 'pass')
    case 'goes-dark': {
      let passed = 0
      let darkUntil = -1
      return ({ bytes }) => {
        passed += bytes.length
        if (darkUntil < 0 && passed >= fault.bytes) darkUntil = clock.now() + fault.forMs
        return clock.now() < darkUntil ? 'lost' : 'pass'
      }
    }
    case 'partition':
      return () => (clock.now() >= fault.fromMs && clock.now() < fault.untilMs ? 'lost' : 'pass')
    case 'reorder':
      return (passage) => {
        if (random.unit() < fault.rate) passage.delayMs += random.unit() * fault.byMs
        return 'pass'
      }
    case 'duplicate':
      return (passage) => {
        if (random.unit() < fault.rate) passage.copyDelayMs = random.unit() * fault.byMs
        return 'pass'
      }
    case 'flip':
      return (passage) => {
        if (random.unit() < fault.rate) {
          const bytes = passage.bytes.slice()
          const at = random.below(bytes.length)
          bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
          passage.bytes = bytes
        }
        return 'pass'
      }
    case 'bottleneck':
    default: {
      let freeAt = 0
      return (passage) => {
        const start = Math.max(clock.now(), freeAt)
        const waiting = (start - clock.now()) * fault.bytesPerMs
        if (waiting > fault.queueBytes) return 'lost'
        freeAt = start + passage.bytes.length / fault.bytesPerMs
        passage.delayMs += freeAt - clock.now()
        return 'pass'
      }
    }
  }
}

/** What one direction is made of. */
export interface FaultLinkOptions {
  readonly clock: Clock
  readonly random: Random
  readonly delayMs: number
  /** Arrivals are collected over this long into one batch, as a busy reader finds them; 0: those of the same instant. */
  readonly batchMs: number
  readonly faults: readonly Fault[]
  readonly deliver: (batch: readonly Uint8Array<ArrayBuffer>[]) => void
}

/** One direction of the wire. */
export class FaultLink {
  readonly #options: FaultLinkOptions
  readonly #faults: readonly FaultRun[]
  /** Batches on their way, by time of arrival. */
  readonly #batches = new Map<number, Uint8Array<ArrayBuffer>[]>()
  sent = 0
  lost = 0

  constructor(options: FaultLinkOptions) {
    this.#options = options
    this.#faults = options.faults.map((fault, i) =>
      runFault(fault, options.clock, options.random.fork(`${fault.kind}-${i}`)),
    )
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    this.sent++
    const passage: Passage = { bytes, delayMs: this.#options.delayMs, copyDelayMs: -1 }
    for (const fault of this.#faults) {
      if (fault(passage) === 'lost') {
        this.lost++
        return
      }
    }
    this.#arriveAfter(passage.delayMs, passage.bytes)
    if (passage.copyDelayMs >= 0) {
      this.#arriveAfter(passage.delayMs + passage.copyDelayMs, passage.bytes.slice())
    }
  }

  #arriveAfter(delayMs: number, bytes: Uint8Array<ArrayBuffer>): void {
    const { clock, batchMs, deliver } = this.#options
    const exact = clock.now() + delayMs
    const at = batchMs > 0 ? Math.ceil(exact / batchMs) * batchMs : exact
    const batch = this.#batches.get(at)
    if (batch !== undefined) {
      batch.push(bytes)
      return
    }
    const fresh = [bytes]
    this.#batches.set(at, fresh)
    const arrive = (): void => {
      this.#batches.delete(at)
      deliver(fresh)
    }
    if (at > clock.now()) clock.after(at - clock.now(), arrive)
    else clock.yield(arrive)
  }
}
