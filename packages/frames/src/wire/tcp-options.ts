/**
 * TCP options: MSS (RFC 9293 3.7.1), window scale and timestamps (RFC 7323), SACK (RFC 2018).
 *
 * One `TcpOptions` lives as long as its engine; `parse()` refills it at every segment and allocates nothing. An option whose
 * length lies ends the walk, as in Linux: what was understood before it counts, `malformed` is set, and the segment itself
 * stays usable (RFC 9293 3.2, MUST-7).
 */

import type { Block } from '@netkit/core'

const KIND = {
  end: 0,
  nop: 1,
  mss: 2,
  windowScale: 3,
  sackPermitted: 4,
  sack: 5,
  timestamps: 8,
} as const

/** 40 `bytes` of options hold at most four SACK blocks, three beside timestamps. */
export const TCP_MAX_SACK_BLOCKS = 4
/** Larger shifts count as 14 (RFC 7323 2.3). */
export const TCP_MAX_WINDOW_SCALE = 14
/** The header length has four bits, `bytes`. */
export const TCP_MAX_OPTIONS_LENGTH = 40

/** The options of one segment. */
export class TcpOptions {
  /** Largest segment the peer takes, `bytes`; 0 if not said. */
  mss = 0
  /** Shift of the peer's windows, `0 … 14`; -1 if not said. */
  windowScale = -1
  /** Whether the peer takes SACKs. */
  sackPermitted = false
  /** Whether `timestampValue` and `timestampEcho` were there. */
  hasTimestamps = false
  /** u32. */
  timestampValue = 0
  /** u32. */
  timestampEcho = 0
  /** SACK blocks in `sackLeft` and `sackRight`. */
  sackCount = 0
  /** First sequence numbers of the blocks. */
  readonly sackLeft: Uint32Array = new Uint32Array(TCP_MAX_SACK_BLOCKS)
  /** Sequence numbers behind the blocks. */
  readonly sackRight: Uint32Array = new Uint32Array(TCP_MAX_SACK_BLOCKS)
  /** Whether an option's length lied. */
  malformed = false

  /** As of a segment without options. */
  reset(): void {
    this.mss = 0
    this.windowScale = -1
    this.sackPermitted = false
    this.hasTimestamps = false
    this.timestampValue = 0
    this.timestampEcho = 0
    this.sackCount = 0
    this.malformed = false
  }

  /** Reads the `length` bytes of options at `offset` (`view.optionsOffset`, `view.optionsLength`). */
  parse(block: Block, offset: number, length: number): this {
    this.reset()
    if (length === 0) return this
    const { view } = block
    const end = offset + length
    let at = offset
    while (at < end) {
      const kind = view.getUint8(at)
      if (kind === KIND.end) return this
      if (kind === KIND.nop) {
        at++
        continue
      }
      const optionLength = at + 1 < end ? view.getUint8(at + 1) : 0
      if (optionLength < 2 || at + optionLength > end) {
        this.malformed = true
        return this
      }
      if (!this.#take(view, kind, at, optionLength)) this.malformed = true
      at += optionLength
    }
    return this
  }

  /** Takes one option. @returns Whether its length fits its kind; unknown kinds are skipped. */
  #take(view: DataView, kind: number, at: number, length: number): boolean {
    switch (kind) {
      case KIND.mss:
        if (length !== 4) return false
        this.mss = view.getUint16(at + 2)
        return true
      case KIND.windowScale:
        if (length !== 3) return false
        this.windowScale = Math.min(view.getUint8(at + 2), TCP_MAX_WINDOW_SCALE)
        return true
      case KIND.sackPermitted:
        if (length !== 2) return false
        this.sackPermitted = true
        return true
      case KIND.timestamps:
        if (length !== 10) return false
        this.hasTimestamps = true
        this.timestampValue = view.getUint32(at + 2)
        this.timestampEcho = view.getUint32(at + 6)
        return true
      case KIND.sack: {
        const count = (length - 2) >>> 3
        if (count < 1 || length !== 2 + 8 * count) return false
        this.sackCount = count
        for (let i = 0; i < count; i++) {
          this.sackLeft[i] = view.getUint32(at + 2 + 8 * i)
          this.sackRight[i] = view.getUint32(at + 6 + 8 * i)
        }
        return true
      }
      default:
        return true
    }
  }
}

/** What `writeTcpOptions` writes: `TcpOptions`, or any object with the same values. */
export type TcpOptionValues = Omit<TcpOptions, 'parse' | 'reset' | 'malformed'>

/** Room that `options` need, a multiple of 4 `bytes`. */
export function tcpOptionsLength(options: TcpOptionValues): number {
  return (
    (options.mss > 0 ? 4 : 0) +
    (options.windowScale >= 0 ? 4 : 0) +
    (options.hasTimestamps ? 12 : options.sackPermitted ? 4 : 0) +
    (options.sackCount > 0 ? 4 + 8 * options.sackCount : 0)
  )
}

/**
 * Writes options in the order and with the padding of Linux, which its own receivers parse on their fast path. Whether they
 * fit 40 bytes is the caller's matter: timestamps leave room for three SACK blocks.
 *
 * @returns Their length, a multiple of 4 `bytes`.
 */
export function writeTcpOptions(options: TcpOptionValues, block: Block, offset: number): number {
  const { view } = block
  let at = offset
  if (options.mss > 0) {
    view.setUint16(at, (KIND.mss << 8) | 4)
    view.setUint16(at + 2, options.mss)
    at += 4
  }
  if (options.hasTimestamps) {
    // The two bytes before the timestamps are padding, or the place of SACK-permitted.
    view.setUint16(at, options.sackPermitted ? (KIND.sackPermitted << 8) | 2 : PADDING)
    view.setUint16(at + 2, (KIND.timestamps << 8) | 10)
    view.setUint32(at + 4, options.timestampValue)
    view.setUint32(at + 8, options.timestampEcho)
    at += 12
  } else if (options.sackPermitted) {
    view.setUint16(at, PADDING)
    view.setUint16(at + 2, (KIND.sackPermitted << 8) | 2)
    at += 4
  }
  if (options.windowScale >= 0) {
    view.setUint16(at, (KIND.nop << 8) | KIND.windowScale)
    view.setUint16(at + 2, (3 << 8) | options.windowScale)
    at += 4
  }
  if (options.sackCount > 0) {
    view.setUint16(at, PADDING)
    view.setUint16(at + 2, (KIND.sack << 8) | (2 + 8 * options.sackCount))
    at += 4
    for (let i = 0; i < options.sackCount; i++) {
      view.setUint32(at, options.sackLeft[i] ?? 0)
      view.setUint32(at + 4, options.sackRight[i] ?? 0)
      at += 8
    }
  }
  return at - offset
}

const PADDING = (KIND.nop << 8) | KIND.nop
