/**
 * The checksum by size and by where the bytes lie: beside the methods that it replaces, which are what a 16-bit loop over
 * a Buffer costs and what DataView reads cost.
 */

import { Block, blockOf } from '@netkit/core'
import { test } from 'vitest'
import { arenaMemory, checksum } from './checksum.ts'
import { fold, sumJavascript } from './sum-javascript.ts'

/** The loop found in most stacks written in JavaScript. */
function byWords(bytes: Uint8Array, offset: number, length: number): number {
  let sum = 0
  for (let i = offset; i < offset + length - 1; i += 2) {
    sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)
  }
  if (length % 2 === 1) sum += (bytes[offset + length - 1] ?? 0) << 8
  return ~fold(sum) & 0xffff
}

const arena = new Block(arenaMemory.allocate(65_540))
const heap = blockOf(new Uint8Array(65_540))
for (let i = 0; i < heap.length; i++) arena.bytes[i] = heap.bytes[i] = (i * 31) & 0xff

// Frames in a length-prefixed stream start at any address, so the offset is odd.
test.for([20, 100, 1500, 65_535])('%i bytes', async (length, { bench }) => {
  await bench.compare(
    bench('arena block', () => {
      checksum(arena, 1, length)
    }),
    bench('heap block', () => {
      checksum(heap, 1, length)
    }),
    bench('DataView, 32 bits a time', () => {
      sumJavascript(heap.view, 1, length, 0)
    }),
    bench('bytes, 16 bits a time', () => {
      byWords(heap.bytes, 1, length)
    }),
    { time: 300 },
  )
})
