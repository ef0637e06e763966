/** Segments as text: what tests write and what they are shown. */

import { Block } from '@netkit/core'
import { TCP_FLAG, TcpOptions, TcpView } from '@netkit/frames'

/** A segment, as far as a test cares. */
export interface SegmentText {
  /** Letters of SYN, FIN, RST, PSH, ACK. Sent: default `A`. Expected: PSH counts only if named. */
  readonly flags?: string
  readonly seq?: number
  readonly ack?: number
  /** As on the wire, not scaled. */
  readonly window?: number
  readonly data?: string
  /** Payload bytes; sent: as many `x`. */
  readonly length?: number
  readonly mss?: number
  readonly windowScale?: number
  readonly sackPermitted?: boolean
  /** Left and right edges. */
  readonly sack?: readonly (readonly [number, number])[]
  /** TSval and TSecr; expected: `true` if there are any. */
  readonly timestamps?: readonly [number, number] | boolean
  /** Sent: these bytes as the options, instead of those above. */
  readonly rawOptions?: readonly number[]
}

/** Names a segment. */
export function tcp(segment: SegmentText): SegmentText {
  return segment
}

const LETTERS: readonly (readonly [string, number])[] = [
  ['S', TCP_FLAG.syn],
  ['F', TCP_FLAG.fin],
  ['R', TCP_FLAG.rst],
  ['P', TCP_FLAG.psh],
  ['A', TCP_FLAG.ack],
  ['U', TCP_FLAG.urg],
]

/** Bits of `TCP_FLAG` for letters. */
export const flagBits = (letters: string): number =>
  LETTERS.reduce((sum, [letter, bit]) => sum | (letters.includes(letter) ? bit : 0), 0)

const relative = (number: number, initial: number): number => (number - initial) | 0

const view = new TcpView()
const options = new TcpOptions()

/** Reads a segment; numbers become relative to the initial ones of its sender and of its receiver. */
export function readSegment(bytes: Uint8Array, iss: number, irs: number): SegmentText {
  view.at(new Block(bytes), 0, bytes.length)
  options.parse(view.block, view.optionsOffset, view.optionsLength)
  const { payloadOffset, payloadLength } = view
  return {
    flags: LETTERS.filter(([, bit]) => (view.flags & bit) !== 0)
      .map(([letter]) => letter)
      .join(''),
    seq: relative(view.sequence, iss),
    ack: view.ack ? relative(view.acknowledgment, irs) : 0,
    window: view.window,
    data: new TextDecoder().decode(bytes.subarray(payloadOffset, payloadOffset + payloadLength)),
    length: payloadLength,
    mss: options.mss,
    windowScale: options.windowScale,
    sackPermitted: options.sackPermitted,
    sack: Array.from({ length: options.sackCount }, (_, i) => [
      relative(options.sackLeft[i] ?? 0, irs),
      relative(options.sackRight[i] ?? 0, irs),
    ]),
    timestamps: options.hasTimestamps ? [options.timestampValue, options.timestampEcho] : false,
  }
}

/** Whether `actual` is what `expected` names of it. */
export function segmentMatches(expected: SegmentText, actual: SegmentText | undefined): boolean {
  if (actual === undefined) return false
  for (const [key, value] of Object.entries(expected)) {
    let seen: unknown = actual[key as keyof SegmentText]
    if (key === 'flags') {
      const wanted = flagBits(String(value))
      const ignored = (wanted & TCP_FLAG.psh) === 0 ? TCP_FLAG.psh : 0
      if ((flagBits(String(seen)) & ~ignored) !== wanted) return false
      continue
    }
    if (key === 'timestamps' && value === true) seen = seen !== false
    if (JSON.stringify(seen) !== JSON.stringify(value)) return false
  }
  return true
}

/** One line. */
export function describeSegment(segment: SegmentText): string {
  return Object.entries(segment)
    .filter(([key, value]) => {
      if (key === 'data') return typeof value === 'string' && value.length > 0 && value.length < 20
      return (
        value !== false &&
        value !== -1 &&
        !(key === 'mss' && value === 0) &&
        !(Array.isArray(value) && value.length === 0)
      )
    })
    .map(([key, value]) => `${key} ${JSON.stringify(value)}`)
    .join(', ')
}
