/**
 * One attached link: where frames of one guest (or one network of a stack) come in and go out.
 *
 * ```
 *   link ── frame × n, batchEnd ──▶ port ──▶ engine            all frames of a chunk first, then the answers
 *   link ◀── begin · commit ─────── port ◀── whoever answers   a port with output is flushed once, at the end of the turn
 *        ── writable ─────────────▶ port ──▶ flows that waited for credit
 * ```
 *
 * Credit: TCP is not produced without it; the flow that was refused waits here and is run when credit is back, those that got
 * nothing before those that got some, so that no flow starves the others. Everything else is dropped and counted.
 */

import type { Block, NetkitError } from '@netkit/core'
import type { FrameLink, FrameRoom, FrameSink, LinkState } from '@netkit/frames'
import { ICMP_ERRORS_PER_SECOND } from '../limits.ts'
import { dropCounts } from './drops.ts'
import type { DropCounts, DropReason } from './drops.ts'
import { RateLimit } from './rate-limit.ts'

/** What a port tells of. */
export interface PortOwner {
  frameArrived(port: Port, block: Block, offset: number, length: number): void
  batchEnded(port: Port): void
  /** Output was committed: `port.flush()` before the turn ends. */
  outputPending(port: Port): void
  /** Credit is back. */
  creditReturned(port: Port): void
  stateChanged(port: Port, state: LinkState, cause: NetkitError | undefined): void
}

/** Somebody who waits for credit. */
export interface CreditWaiter {
  /** Set by the port. */
  waitingForCredit: boolean
  /** Output got through in the turn of this number. */
  sentInTurn: number
  /** Credit is back. */
  creditReturned(): void
}

/** How a port was attached. */
export interface PortOptions {
  /** Unique name: the guest's. */
  readonly name: string
  /** Largest IP packet, `bytes`: at most the link's. */
  readonly mtu: number
  /** The link cannot corrupt frames (memory, a local socket): transport checksums are not verified. */
  readonly trusted: boolean
  /** Frames can be late on this link but not lost. */
  readonly lossless: boolean
}

/** One attached link. */
export class Port implements FrameSink {
  readonly name: string
  readonly link: FrameLink
  readonly mtu: number
  readonly trusted: boolean
  readonly lossless: boolean
  readonly drops: DropCounts = dropCounts()
  /** How many more ICMP errors may be sent. */
  readonly icmpErrors: RateLimit = new RateLimit(ICMP_ERRORS_PER_SECOND)
  readonly #owner: PortOwner
  #waiting: CreditWaiter[] = []
  /** Spare array, swapped with `#waiting`. */
  #woken: CreditWaiter[] = []
  #outputPending = false
  #detached = false

  constructor(owner: PortOwner, link: FrameLink, options: PortOptions) {
    this.#owner = owner
    this.link = link
    this.name = options.name
    this.mtu = options.mtu
    this.trusted = options.trusted
    this.lossless = options.lossless
  }

  /** Whether the port was taken off. */
  get detached(): boolean {
    return this.#detached
  }

  /** Whether nothing can be sent now. */
  get blocked(): boolean {
    return this.link.credit === 0
  }

  /** Counts something that was dropped. */
  drop(reason: DropReason): void {
    this.drops[reason]++
  }

  /** Room for a frame of up to `length` bytes, or `undefined` without credit. */
  begin(length: number): FrameRoom | undefined {
    return this.#detached ? undefined : this.link.begin(length)
  }

  /** The frame begun last is complete. */
  commit(length: number): void {
    this.link.commit(length)
    this.#noteOutput()
  }

  /** The same, with a tail that is not copied; takes over one pin of `block`. */
  commitWith(headLength: number, block: Block, offset: number, length: number): void {
    this.link.commitWith(headLength, block, offset, length)
    this.#noteOutput()
  }

  /** Sends what was committed. */
  flush(): void {
    this.#outputPending = false
    if (!this.#detached) this.link.flush()
  }

  /** `waiter` had no credit and is told when there is some. */
  waitForCredit(waiter: CreditWaiter): void {
    if (waiter.waitingForCredit) return
    waiter.waitingForCredit = true
    this.#waiting.push(waiter)
  }

  /** Runs those who waited: whoever sent nothing in turn `turn` first. */
  wakeWaiters(turn: number): void {
    const woken = this.#waiting
    this.#waiting = this.#woken
    this.#woken = woken
    for (const waiter of woken) waiter.waitingForCredit = false
    for (const waiter of woken) if (waiter.sentInTurn !== turn) waiter.creditReturned()
    for (const waiter of woken) if (waiter.sentInTurn === turn) waiter.creditReturned()
    woken.length = 0
  }

  /** Takes the port off its link: frames that still come are ignored. */
  detach(): void {
    this.#detached = true
  }

  frame(block: Block, offset: number, length: number): void {
    if (!this.#detached) this.#owner.frameArrived(this, block, offset, length)
  }

  batchEnd(): void {
    if (!this.#detached) this.#owner.batchEnded(this)
  }

  writable(): void {
    if (!this.#detached) this.#owner.creditReturned(this)
  }

  stateChanged(state: LinkState, cause: NetkitError | undefined): void {
    if (!this.#detached) this.#owner.stateChanged(this, state, cause)
  }

  #noteOutput(): void {
    if (this.#outputPending) return
    this.#outputPending = true
    this.#owner.outputPending(this)
  }
}
