/**
 * A segment as numbers. The codecs are those of `@netkit/frames`; what is added is one object that TCP reads from and that the
 * engine points at one frame after the other.
 */

import { TCP_FLAG, TcpOptions, type TcpView } from '@netkit/frames'

/** What a SYN says: kept by the engine while the other side is being dialled. */
export interface SynFields {
  readonly seq: number
  /** As sent: a SYN's window is never scaled (RFC 7323 2.2). */
  readonly window: number
  /** Largest segment the peer takes, `bytes`; 0: not said. */
  readonly mss: number
  /** Shift, at most 14; -1: not offered. */
  readonly windowScale: number
  readonly sackPermitted: boolean
  readonly hasTimestamps: boolean
  readonly timestampValue: number
}

/** One reusable parsed segment, options included. Nothing is allocated per segment. */
export class SegmentIn extends TcpOptions implements SynFields {
  seq = 0
  ack = 0
  /** Bits of `TCP_FLAG`. */
  flags = 0
  /** As on the wire, not scaled. */
  window = 0

  /** Reads the segment under `view`, which has passed `check()`. Malformed options count as far as they can be read (RFC 9293 MUST-7). */
  read(view: TcpView): this {
    this.seq = view.sequence
    this.ack = view.acknowledgment
    this.flags = view.flags
    this.window = view.window
    this.parse(view.block, view.optionsOffset, view.optionsLength)
    return this
  }
}

/** The SYN's numbers as an object of their own: `segment` is pointed at other frames before the dialling ends. */
export function synFields(segment: SegmentIn): SynFields {
  const { seq, window, mss, windowScale, sackPermitted, hasTimestamps, timestampValue } = segment
  return { seq, window, mss, windowScale, sackPermitted, hasTimestamps, timestampValue }
}

/** A RST: the answer to a segment that belongs to no connection. */
export interface ResetReply {
  readonly seq: number
  readonly ack: number
  readonly flags: number
}

/**
 * What answers a segment for which there is no connection (RFC 9293 3.10.7.1), or `undefined` for a RST, which is never answered.
 */
export function resetReply(
  segment: { readonly seq: number; readonly ack: number; readonly flags: number },
  payloadLength: number,
): ResetReply | undefined {
  const { flags } = segment
  if ((flags & TCP_FLAG.rst) !== 0) return undefined
  if ((flags & TCP_FLAG.ack) !== 0) return { seq: segment.ack, ack: 0, flags: TCP_FLAG.rst }
  const length =
    payloadLength + ((flags & TCP_FLAG.syn) !== 0 ? 1 : 0) + ((flags & TCP_FLAG.fin) !== 0 ? 1 : 0)
  return { seq: 0, ack: (segment.seq + length) >>> 0, flags: TCP_FLAG.rst | TCP_FLAG.ack }
}
