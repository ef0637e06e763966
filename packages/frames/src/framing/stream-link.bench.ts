/**
 * What a frame costs a link over a byte stream: walking the frames of a chunk, and building a batch in the slab. The stream
 * itself does nothing, so this is the link alone.
 */

import { blockOf } from '@netkit/core'
import type { Block, ByteStream, CloseReason, ReadTarget } from '@netkit/core'
import { test } from 'vitest'
import type { FrameSink } from '../frame-link.ts'
import { u32be } from './framing.ts'
import { streamLink } from './stream-link.ts'

/** A stream whose writes are done at once and whose reads are what the benchmark puts in. */
class IdleStream implements ByteStream {
  readonly local = undefined
  readonly remote = undefined
  readonly queued = 0
  readonly closed = new Promise<CloseReason>(() => {})
  target: ReadTarget | undefined

  read(into: ReadTarget): void {
    this.target = into
  }
  write(block: Block): void {
    block.unpin()
  }
  unread(): void {}
  cork(): void {}
  uncork(): void {}
  onDrain(): void {}
  end(): void {}
  reset(): void {}
  async [Symbol.asyncDispose](): Promise<void> {}
}

let bytes = 0
const sink: FrameSink = {
  frame(_block, _offset, length) {
    bytes += length
  },
  batchEnd() {},
  writable() {},
  stateChanged() {},
}

/** A full read of frames of `length` bytes. */
function chunkOf(length: number, frames: number): Uint8Array {
  const chunk = new Uint8Array(frames * (4 + length))
  const view = new DataView(chunk.buffer)
  for (let i = 0; i < frames; i++) view.setUint32(i * (4 + length), length)
  return chunk
}

test.for([
  [60, 1000],
  [1514, 43],
  [65_534, 3],
] as const)('%i-byte frames, %i at a time', async ([length, frames], { bench }) => {
  const stream = new IdleStream()
  const link = streamLink(stream, { framing: u32be, mtu: 65_520 })
  link.attach(sink)
  const chunk = chunkOf(length, frames)
  const head = new Uint8Array(54)
  const payload = blockOf(new Uint8Array(length))

  await bench.compare(
    bench('read: a chunk copied in and walked', () => {
      const room = stream.target?.room()
      if (room === undefined) throw new Error('no room')
      room.block.bytes.set(chunk, room.offset)
      stream.target?.filled(chunk.length)
    }),
    bench('the copy alone', () => {
      const room = stream.target?.room()
      room?.block.bytes.set(chunk, room.offset)
    }),
    bench('write: begin and commit in the slab, one flush', () => {
      for (let i = 0; i < frames; i++) {
        if (link.begin(length) === undefined) throw new Error('no credit')
        link.commit(length)
      }
      link.flush()
    }),
    bench('write: 54 bytes and a block, one flush', () => {
      for (let i = 0; i < frames; i++) {
        const room = link.begin(54)
        if (room === undefined) throw new Error('no credit')
        room.block.bytes.set(head, room.offset)
        payload.pin()
        link.commitWith(54, payload, 0, Math.max(0, length - 54))
      }
      link.flush()
    }),
    { time: 300 },
  )
  if (bytes === 0) throw new Error('nothing was read')
})
