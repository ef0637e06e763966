/** What every link does alike: its sink, its state, its counters, and the checks of its MTU. */

import { NetkitError } from '@netkit/core'
import type { Block } from '@netkit/core'
import type { FrameLink, FrameRoom, FrameSink, LinkState, LinkStats } from '../frame-link.ts'
import { MAX_FRAME_BYTES, MAX_MTU_BYTES, MIN_MTU_BYTES } from '../limits.ts'
import { ETHERNET_HEADER_LENGTH, VLAN_TAG_LENGTH } from '../wire/ethernet.ts'

/**
 * Why an incoming frame did not reach the sink.
 *
 * - `zero-length`: a length prefix of 0, or an empty message.
 * - `runt`: shorter than an Ethernet header.
 * - `oversize`: longer than the link's MTU allows.
 * - `truncated`: the medium ended within a frame.
 * - `no-memory`: the sink keeps all read memory, on a medium that cannot wait.
 * - `paused`: it came while reading was paused, on a medium that cannot wait.
 * - `stranger`: it came from somebody else than the peer.
 */
export type LinkDropReason =
  'zero-length' | 'runt' | 'oversize' | 'truncated' | 'no-memory' | 'paused' | 'stranger'

/** The MTU, or an error that names it. */
export function checkedMtu(mtu: number): number {
  if (!Number.isInteger(mtu) || mtu < MIN_MTU_BYTES || mtu > MAX_MTU_BYTES) {
    throw new NetkitError(
      'NETKIT_LINK_MTU_INVALID',
      `A link cannot have an MTU of ${mtu}: give a whole number of bytes from ${MIN_MTU_BYTES} to ${MAX_MTU_BYTES}.`,
    )
  }
  return mtu
}

/** Base of the links of this package. */
export abstract class LinkBase implements FrameLink {
  readonly mtu: number
  /** Longest frame either way: an IP packet, the Ethernet header and a VLAN tag. */
  protected readonly longestFrame: number
  protected sink: FrameSink | undefined
  /** Whether the sink was told that there is no credit and waits for `writable`. */
  protected starved = false
  #state: LinkState
  #framesIn = 0
  #bytesIn = 0
  #framesOut = 0
  #bytesOut = 0
  readonly #dropped: Record<LinkDropReason, number> = {
    'zero-length': 0,
    runt: 0,
    oversize: 0,
    truncated: 0,
    'no-memory': 0,
    paused: 0,
    stranger: 0,
  }
  // Length of the frame begun last, -1 when none is.
  #begun = -1

  constructor(mtu: number, state: LinkState = 'up') {
    this.#state = state
    this.mtu = checkedMtu(mtu)
    this.longestFrame = Math.min(mtu + ETHERNET_HEADER_LENGTH + VLAN_TAG_LENGTH, MAX_FRAME_BYTES)
  }

  get state(): LinkState {
    return this.#state
  }

  abstract get credit(): number
  abstract begin(length: number): FrameRoom | undefined
  abstract commit(length: number): void
  abstract commitWith(headLength: number, block: Block, offset: number, length: number): void
  abstract flush(): void
  abstract pause(): void
  abstract resume(): void
  abstract close(): Promise<void>

  attach(sink: FrameSink): void {
    this.sink = sink
  }

  stats(): LinkStats {
    return {
      framesIn: this.#framesIn,
      bytesIn: this.#bytesIn,
      framesOut: this.#framesOut,
      bytesOut: this.#bytesOut,
      dropped: { ...this.#dropped },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Changes the state and tells the sink, once per change. */
  protected enter(state: LinkState, cause: NetkitError | undefined): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    this.#begun = -1
    this.sink?.stateChanged(state, cause)
  }

  /** Hands a frame of the medium to the sink, or counts why not. */
  protected receive(block: Block, offset: number, length: number): void {
    if (length < ETHERNET_HEADER_LENGTH) this.drop(length === 0 ? 'zero-length' : 'runt')
    else if (length > this.longestFrame) this.drop('oversize')
    else {
      this.#framesIn++
      this.#bytesIn += length
      this.sink?.frame(block, offset, length)
    }
  }

  protected drop(reason: LinkDropReason): void {
    this.#dropped[reason]++
  }

  /** Notes that room for `length` bytes is being handed out. */
  protected noteBegin(length: number): void {
    if (length > this.longestFrame) throw this.#tooLong(length)
    this.#begun = length
  }

  /** Notes that no room can be handed out. */
  protected noteStarved(): undefined {
    this.#begun = -1
    this.starved = true
    return undefined
  }

  /** Tells the sink that credit is back, if it was told that there is none. */
  protected feed(): void {
    if (!this.starved || this.#state !== 'up') return
    this.starved = false
    this.sink?.writable()
  }

  /** Checks a commit against the room that was begun, and counts the frame. False: the link went down since `begin`. */
  protected noteCommit(roomLength: number, frameLength: number): boolean {
    if (this.#begun < 0) {
      if (this.#state !== 'up') return false
      throw new NetkitError(
        'NETKIT_FRAME_NOT_BEGUN',
        'A frame was committed that had not been begun: call begin() before each commit().',
      )
    }
    if (roomLength > this.#begun) {
      throw new NetkitError(
        'NETKIT_FRAME_TOO_LONG',
        `${roomLength} bytes were committed into room for ${this.#begun}: the bytes beyond may belong to another frame.`,
      )
    }
    if (frameLength > this.longestFrame) throw this.#tooLong(frameLength)
    this.#begun = -1
    this.#framesOut++
    this.#bytesOut += frameLength
    return true
  }

  #tooLong(length: number): NetkitError {
    return new NetkitError(
      'NETKIT_FRAME_TOO_LONG',
      `A frame of ${length} bytes does not fit a link whose MTU is ${this.mtu}: at most ${this.longestFrame} bytes.`,
    )
  }
}
