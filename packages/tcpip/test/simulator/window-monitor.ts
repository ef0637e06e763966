/**
 * Watches one host's segments from outside, with sequence arithmetic of its own, and notes what a TCP must never do.
 */

import { TCP_FLAG, TcpOptions, type TcpView } from '@netkit/frames'

/** The watcher of one host. */
export class WindowMonitor {
  readonly #options = new TcpOptions()
  /** Right edge of the window that the peer has offered, as far as the host has heard; -1: not yet. */
  #offered = -1
  /** Edge that the host has offered itself. */
  #promised = -1
  #ownShift = 0
  #peerShift = 0
  #scaled = { own: false, peer: false }
  /** What was seen that must not be; the first one. */
  violation: string | undefined
  /** Whether a shut window is an offence: the consumer takes everything at once. */
  draining = false

  /** A segment that the host has received and not dropped as damaged. */
  received(view: TcpView): void {
    if (!view.ack && !view.syn) return
    this.#learnShift(view, 'peer')
    if (!view.ack) return
    const shift = view.syn || !(this.#scaled.own && this.#scaled.peer) ? 0 : this.#peerShift
    const edge = (view.acknowledgment + view.window * 2 ** shift) >>> 0
    if (this.#offered < 0 || ((edge - this.#offered) | 0) > 0) this.#offered = edge
  }

  /** A segment that the host sends. */
  sent(view: TcpView): void {
    this.#learnShift(view, 'own')
    if ((view.flags & TCP_FLAG.rst) !== 0) return
    const end = (view.sequence + view.payloadLength) >>> 0
    // One byte beyond is a window probe (RFC 9293 3.8.6.1).
    if (this.#offered >= 0 && view.payloadLength > 0 && ((end - this.#offered) | 0) > 1) {
      this.#offence(`sent ${(end - this.#offered) | 0} bytes beyond the peer's window`)
    }
    if (!view.ack) return
    const scaled = !view.syn && this.#scaled.own && this.#scaled.peer
    const window = view.window * 2 ** (scaled ? this.#ownShift : 0)
    const edge = (view.acknowledgment + window) >>> 0
    if (this.#promised >= 0 && ((edge - this.#promised) | 0) < 0) {
      this.#offence(`took back ${(this.#promised - edge) | 0} bytes of the window it had offered`)
    }
    this.#promised = edge
    if (this.draining && window === 0) this.#offence('shut the window although its consumer drains')
  }

  #learnShift(view: TcpView, whose: 'own' | 'peer'): void {
    if (!view.syn) return
    const { windowScale } = this.#options.parse(view.block, view.optionsOffset, view.optionsLength)
    this.#scaled[whose] = windowScale >= 0
    if (whose === 'own') this.#ownShift = Math.max(0, windowScale)
    else this.#peerShift = Math.max(0, windowScale)
  }

  #offence(text: string): void {
    this.violation ??= text
  }
}
