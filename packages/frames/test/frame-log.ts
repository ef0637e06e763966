/** A sink that keeps copies of what it is given, and the frames that tests send. */

import type { Block, NetkitError } from '@netkit/core'
import type { FrameLink, FrameSink, LinkState } from '../src/frame-link.ts'

export class FrameLog implements FrameSink {
  readonly frames: Uint8Array[] = []
  /** Frames per batch. */
  readonly batches: number[] = []
  /** States as they were entered, each followed by the code of its cause. */
  readonly states: string[] = []
  writables = 0
  cause: NetkitError | undefined
  /** Runs in place of keeping a copy. */
  onFrame: ((block: Block, offset: number, length: number) => void) | undefined
  onWritable: (() => void) | undefined
  #batch = 0

  frame(block: Block, offset: number, length: number): void {
    this.#batch++
    if (this.onFrame) this.onFrame(block, offset, length)
    else this.frames.push(block.bytes.slice(offset, offset + length))
  }

  batchEnd(): void {
    this.batches.push(this.#batch)
    this.#batch = 0
  }

  writable(): void {
    this.writables++
    this.onWritable?.()
  }

  stateChanged(state: LinkState, cause: NetkitError | undefined): void {
    this.states.push(cause === undefined ? state : `${state} ${cause.code}`)
    this.cause = cause
  }
}

/** A frame whose bytes tell which one it is. */
export function testFrame(index: number, length = 60): Uint8Array {
  const frame = new Uint8Array(length)
  for (let i = 0; i < length; i++) frame[i] = (index * 31 + i * 7) & 0xff
  return frame
}

/** Begins and commits one frame. False: no credit. */
export function send(link: FrameLink, frame: Uint8Array): boolean {
  const room = link.begin(frame.length)
  if (room === undefined) return false
  room.block.bytes.set(frame, room.offset)
  link.commit(frame.length)
  return true
}

/** Lets everything that microtasks carry happen. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
}
