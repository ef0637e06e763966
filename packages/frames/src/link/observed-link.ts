/** A link that lets somebody watch: every frame both ways, in the order of the medium, and nothing is changed. */

import { Block } from '@netkit/core'
import type { NetkitError } from '@netkit/core'
import type { FrameLink, FrameRoom, FrameSink, LinkState, LinkStats } from '../frame-link.ts'
import { ETHERNET_HEADER_LENGTH, VLAN_TAG_LENGTH } from '../wire/ethernet.ts'

/** `in`: from the medium to the sink. `out`: from the sink to the medium. */
export type FrameDirection = 'in' | 'out'

/** Who watches. The bytes are its only during the call. */
export interface FrameObserver {
  frame(direction: FrameDirection, block: Block, offset: number, length: number): void
  stateChanged?(state: LinkState, cause: NetkitError | undefined): void
}

/** Wraps `link`; use the result in its place. */
export function observedLink(link: FrameLink, observer: FrameObserver): FrameLink {
  return new ObservedLink(link, observer)
}

class ObservedLink implements FrameLink, FrameSink {
  readonly #inner: FrameLink
  readonly #observer: FrameObserver
  #sink: FrameSink | undefined
  #room: FrameRoom | undefined
  /** Where frames of two parts are put together to be looked at. */
  #whole: Block | undefined

  constructor(inner: FrameLink, observer: FrameObserver) {
    this.#inner = inner
    this.#observer = observer
  }

  get mtu(): number {
    return this.#inner.mtu
  }

  get state(): LinkState {
    return this.#inner.state
  }

  get credit(): number {
    return this.#inner.credit
  }

  attach(sink: FrameSink): void {
    this.#sink = sink
    this.#inner.attach(this)
  }

  begin(length: number): FrameRoom | undefined {
    this.#room = this.#inner.begin(length)
    return this.#room
  }

  commit(length: number): void {
    const room = this.#room
    if (room !== undefined) this.#observer.frame('out', room.block, room.offset, length)
    this.#inner.commit(length)
  }

  commitWith(headLength: number, block: Block, offset: number, length: number): void {
    const room = this.#room
    if (room !== undefined) {
      const whole = (this.#whole ??= new Block(
        new Uint8Array(this.mtu + ETHERNET_HEADER_LENGTH + VLAN_TAG_LENGTH),
      ))
      if (headLength + length <= whole.length) {
        whole.bytes.set(room.block.bytes.subarray(room.offset, room.offset + headLength))
        whole.bytes.set(block.bytes.subarray(offset, offset + length), headLength)
        this.#observer.frame('out', whole, 0, headLength + length)
      }
    }
    this.#inner.commitWith(headLength, block, offset, length)
  }

  flush(): void {
    this.#inner.flush()
  }

  pause(): void {
    this.#inner.pause()
  }

  resume(): void {
    this.#inner.resume()
  }

  stats(): LinkStats {
    return this.#inner.stats()
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  frame(block: Block, offset: number, length: number): void {
    this.#observer.frame('in', block, offset, length)
    this.#sink?.frame(block, offset, length)
  }

  batchEnd(): void {
    this.#sink?.batchEnd()
  }

  writable(): void {
    this.#sink?.writable()
  }

  stateChanged(state: LinkState, cause: NetkitError | undefined): void {
    this.#observer.stateChanged?.(state, cause)
    this.#sink?.stateChanged(state, cause)
  }
}
