import { Block } from '@netkit/core'

/** What a view points at before its first `at()`. */
export const EMPTY: Block = new Block(new Uint8Array(0))
