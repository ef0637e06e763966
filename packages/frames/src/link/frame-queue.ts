/** Frames that wait, each holding a pin of its block: a ring that grows to what is needed and stays. */

import type { Block } from '@netkit/core'

/** First in, first out. */
export class FrameQueue {
  #blocks: (Block | undefined)[] = Array.from({ length: 64 })
  #offsets = new Uint32Array(64)
  #lengths = new Uint32Array(64)
  #head = 0
  #size = 0
  #bytes = 0

  /** Bytes of the frames that wait. */
  get bytes(): number {
    return this.#bytes
  }

  /** Frames that wait. */
  get size(): number {
    return this.#size
  }

  /** Takes over one pin of `block`. */
  push(block: Block, offset: number, length: number): void {
    if (this.#size === this.#blocks.length) this.#grow()
    const at = (this.#head + this.#size++) & (this.#blocks.length - 1)
    this.#blocks[at] = block
    this.#offsets[at] = offset
    this.#lengths[at] = length
    this.#bytes += length
  }

  /** The oldest frame's block. */
  get block(): Block | undefined {
    return this.#blocks[this.#head]
  }

  /** The oldest frame's first byte in its block. */
  get offset(): number {
    return this.#offsets[this.#head] ?? 0
  }

  /** The oldest frame's length. */
  get length(): number {
    return this.#size === 0 ? 0 : (this.#lengths[this.#head] ?? 0)
  }

  /** Takes the oldest frame out; its pin is the caller's. */
  shift(): void {
    if (this.#size === 0) return
    this.#bytes -= this.length
    this.#blocks[this.#head] = undefined
    this.#head = (this.#head + 1) & (this.#blocks.length - 1)
    this.#size--
  }

  /** Drops all frames. */
  clear(): void {
    while (this.#size > 0) {
      const { block } = this
      this.shift()
      block?.unpin()
    }
  }

  #grow(): void {
    const { length } = this.#blocks
    const blocks: (Block | undefined)[] = Array.from({ length: 2 * length })
    const offsets = new Uint32Array(2 * length)
    const lengths = new Uint32Array(2 * length)
    for (let i = 0; i < this.#size; i++) {
      const from = (this.#head + i) & (length - 1)
      blocks[i] = this.#blocks[from]
      offsets[i] = this.#offsets[from] ?? 0
      lengths[i] = this.#lengths[from] ?? 0
    }
    this.#blocks = blocks
    this.#offsets = offsets
    this.#lengths = lengths
    this.#head = 0
  }
}
