import { blockOf } from '@netkit/core'
import type { ByteStream } from '@netkit/core'

/** Reads a stream to its end: `chunk` gets each piece, valid during the call, and `gone` runs once when no more will come. */
export function pump(
  stream: ByteStream,
  chunk: (bytes: Uint8Array) => void,
  gone: () => void,
): void {
  const block = blockOf(new Uint8Array(16_384))
  const room = { block, offset: 0, length: block.length }
  let over = false
  const end = (): void => {
    if (over) return
    over = true
    gone()
  }
  stream.read({
    room: () => room,
    filled: (length) => chunk(block.bytes.subarray(0, length)),
    end,
  })
  void stream.closed.then(end)
}
