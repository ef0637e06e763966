/** A connection as the `ByteStream` of `@netkit/core`. */

import type { Block, ByteStream, CloseReason, Endpoint, ReadTarget } from '@netkit/core'
import type { ControlBlock } from './control-block.ts'
import { sendReset } from './output.ts'

/** What one connection's consumer and producer hold. */
export class TcpStream implements ByteStream {
  readonly #tcb: ControlBlock
  readonly closed: Promise<CloseReason>
  #resolveClosed: (reason: CloseReason) => void = () => {}
  #target: ReadTarget | undefined
  /** The target said no to what was offered; waits for the next `read`. */
  #stalled = false
  #delivering = false
  /** The present target knows of the FIN; some target does. */
  #endTold = false
  #endDelivered = false
  /** Bytes put back while a piece is being given away. */
  #taking = false
  readonly #putBack: Uint8Array[] = []
  #isSettled = false
  #onDrain: (() => void) | undefined
  #corks = 0
  #reason: CloseReason | undefined

  constructor(tcb: ControlBlock) {
    this.#tcb = tcb
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve))
  }

  get local(): Endpoint {
    return this.#tcb.path.local
  }

  get remote(): Endpoint {
    return this.#tcb.path.remote
  }

  get queued(): number {
    return this.#tcb.sendBuffer.length
  }

  read(into: ReadTarget): void {
    if (this.#isSettled) return
    if (into !== this.#target) this.#endTold = false
    this.#target = into
    this.#stalled = false
    this.#tcb.schedule()
  }

  unread(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#isSettled) return
    if (this.#taking) this.#putBack.unshift(bytes.slice())
    else this.#tcb.receiveBuffer.unread(bytes)
    this.#tcb.schedule()
  }

  write(block: Block, offset: number, length: number): void {
    const tcb = this.#tcb
    if (length <= 0 || tcb.finQueued || this.#reason !== undefined) {
      block.unpin()
      return
    }
    tcb.sendBuffer.append(block, offset, length)
    tcb.schedule()
  }

  cork(): void {
    if (this.#corks++ === 0 && !this.#tcb.finQueued) {
      this.#tcb.corkedFrom = this.#tcb.sendBuffer.end
    }
  }

  uncork(): void {
    if (this.#corks === 0 || --this.#corks > 0) return
    this.#tcb.corkedFrom = Infinity
    this.#tcb.schedule()
  }

  onDrain(run: (() => void) | undefined): void {
    this.#onDrain = run
  }

  end(): void {
    const tcb = this.#tcb
    if (tcb.finQueued || this.#reason !== undefined) return
    tcb.finQueued = true
    // What was held back for more to come waits in vain.
    tcb.corkedFrom = Infinity
    tcb.schedule()
  }

  reset(): void {
    const tcb = this.#tcb
    if (tcb.state === 'CLOSED') {
      // Ended in order, but its bytes were never fetched.
      tcb.receiveBuffer.clear()
      this.#settle(true)
      return
    }
    // In SYN-SENT the peer knows nothing of us; in TIME-WAIT it is done with us.
    if (tcb.state !== 'SYN-SENT' && tcb.state !== 'TIME-WAIT') sendReset(tcb)
    tcb.schedule()
    tcb.finish({ kind: 'reset', by: 'local' })
  }

  /** Resets what has not ended yet, and waits until nothing is held. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#reason === undefined || !this.#endDelivered) this.reset()
    await this.closed
  }

  // --- called by the connection

  deliver(): void {
    if (this.#delivering) return
    const { receiveBuffer } = this.#tcb
    let given = 0
    this.#delivering = true
    // A call of the consumer's may replace the target, put bytes back, or reset the stream.
    while (this.#target !== undefined && !this.#stalled && receiveBuffer.length > 0) {
      const target = this.#target
      this.#taking = true
      const taken = receiveBuffer.deliverTo(target)
      this.#taking = false
      for (const bytes of this.#putBack.splice(0)) receiveBuffer.unread(bytes)
      given += taken
      if (taken === 0 && this.#target === target) this.#stalled = receiveBuffer.length > 0
    }
    this.#delivering = false
    receiveBuffer.settle()
    if (given > 0) this.#consumed(given)
    this.#deliverEnd()
  }

  #consumed(bytes: number): void {
    const { window, env, rtt, budget } = this.#tcb
    window.consumed(bytes, env.now, rtt.smoothed, budget?.relaxed ?? true)
  }

  #deliverEnd(): void {
    const { peerFin, rcvNxt, receiveBuffer } = this.#tcb
    if (this.#endTold || peerFin < 0 || rcvNxt <= peerFin || receiveBuffer.length > 0) return
    if (this.#target === undefined || this.#isSettled) return
    if (this.#reason !== undefined && this.#reason.kind !== 'fin') return
    this.#endTold = true
    this.#endDelivered = true
    this.#target.end()
    this.#settle(false)
  }

  drained(): void {
    this.#onDrain?.()
  }

  finished(reason: CloseReason): void {
    this.#reason ??= reason
    this.#settle(reason.kind !== 'fin')
    // Bytes or the end may still wait for their consumer.
    if (!this.#endDelivered) this.#tcb.schedule()
  }

  /** `closed` resolves once both directions ended and the consumer has all there was. */
  #settle(now: boolean): void {
    if (this.#isSettled || this.#reason === undefined || !(now || this.#endDelivered)) return
    this.#isSettled = true
    this.#resolveClosed(this.#reason)
    this.#target = undefined
    this.#onDrain = undefined
  }
}
