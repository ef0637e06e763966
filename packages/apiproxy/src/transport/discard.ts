/** A body that goes nowhere. */

import type { Block } from '@netkit/core'
import { LINGER_BYTES } from '../limits.ts'
import type { BodySink } from './message-reader.ts'

/** Takes bytes up to `LINGER_BYTES`, so that their sender reads what it was told and not a reset. */
export class Discard implements BodySink {
  readonly queued = 0
  #left = LINGER_BYTES
  readonly #over: () => void

  /** @param over - Runs at each write beyond the limit. */
  constructor(over: () => void) {
    this.#over = over
  }

  write(block: Block, _offset: number, length: number): void {
    block.unpin()
    this.#left -= length
    if (this.#left < 0) this.#over()
  }
}
