/** Writes our segments: one header and one set of options, filled in anew for each. */

import {
  TCP_HEADER_LENGTH,
  TCP_FLAG,
  type FrameRoom,
  type TcpFields,
  TcpOptions,
  encodeTcp,
  tcpOptionsLength,
  writeTcpOptions,
} from '@netkit/frames'
import type { ControlBlock } from './control-block.ts'
import { toWire } from './sequence.ts'

const options = new TcpOptions()
// Ports stay 0: they are the path's.
const header: Required<TcpFields> = {
  sourcePort: 0,
  destinationPort: 0,
  sequence: 0,
  acknowledgment: 0,
  flags: 0,
  window: 0,
  urgentPointer: 0,
  optionsLength: 0,
}
/** SACK blocks as positions. */
const edges: number[] = [0, 0, 0, 0, 0, 0, 0, 0]
const ALL_OPTIONS = 40

/**
 * Chooses the options of a segment with `payload` bytes; returns the length of its header. Where both do not fit, SACK blocks
 * give way to data: what they say is said by the next bare ACK.
 */
export function prepareSegment(tcb: ControlBlock, payload: number): number {
  options.reset()
  if (tcb.timestamps) {
    options.hasTimestamps = true
    options.timestampValue = tcb.timestamp(tcb.env.now)
    options.timestampEcho = tcb.tsRecent
  }
  if (tcb.sack && tcb.reassembly.count > 0) {
    const taken = tcpOptionsLength(options)
    const room = Math.min(ALL_OPTIONS, tcb.path.mss - payload) - taken
    const count = room < 12 ? 0 : tcb.reassembly.report(edges, Math.floor((room - 4) / 8))
    for (let i = 0; i < count; i++) {
      options.sackLeft[i] = toWire(tcb.irs, edges[2 * i] ?? 0)
      options.sackRight[i] = toWire(tcb.irs, edges[2 * i + 1] ?? 0)
    }
    options.sackCount = count
  }
  header.optionsLength = tcpOptionsLength(options)
  return TCP_HEADER_LENGTH + header.optionsLength
}

/** Chooses the options of a SYN or SYN-ACK; returns the length of its header. */
export function prepareSyn(tcb: ControlBlock): number {
  options.reset()
  options.mss = Math.min(tcb.path.mss, 0xffff)
  options.windowScale = tcb.windowScale ? tcb.window.wantedShift : -1
  options.sackPermitted = tcb.sack
  if (tcb.timestamps) {
    options.hasTimestamps = true
    options.timestampValue = tcb.timestamp(tcb.env.now)
    options.timestampEcho = tcb.tsRecent
  }
  header.optionsLength = tcpOptionsLength(options)
  return TCP_HEADER_LENGTH + header.optionsLength
}

/** Writes what was prepared, at `position` of our stream, into the room that the path gave. */
export function writeSegment(
  tcb: ControlBlock,
  room: FrameRoom,
  position: number,
  flags: number,
): void {
  const syn = (flags & TCP_FLAG.syn) !== 0
  header.sequence = toWire(tcb.iss, position)
  header.acknowledgment = (flags & TCP_FLAG.ack) === 0 ? 0 : toWire(tcb.irs, tcb.rcvNxt)
  header.flags = flags
  header.window = tcb.window.advertise(tcb.rcvNxt, tcb.receiveBuffer.length, tcb.mss, !syn)
  const length = encodeTcp(header, room.block, room.offset)
  if (header.optionsLength > 0) {
    writeTcpOptions(options, room.block, room.offset + length - header.optionsLength)
  }
}

/** Writes a RST at the wire's `sequence`; with ACK unless it answers an ACK. */
export function writeReset(
  tcb: ControlBlock,
  room: FrameRoom,
  sequence: number,
  flags: number,
): void {
  header.sequence = sequence
  header.acknowledgment = (flags & TCP_FLAG.ack) === 0 ? 0 : toWire(tcb.irs, tcb.rcvNxt)
  header.flags = flags
  header.window = 0
  header.optionsLength = 0
  encodeTcp(header, room.block, room.offset)
}
