/** Bytes that are known everywhere and at no two places alike: a lost, repeated or misplaced piece changes the hash. */

import { createCipheriv, createHash, type Cipher } from 'node:crypto'

const KEY = Buffer.alloc(16)
const PIECE = Buffer.alloc(65_536)

/** AES-128-CTR of zeros under the zero key: as fast as copying, and never repeating. */
const keystream = (): Cipher => createCipheriv('aes-128-ctr', KEY, Buffer.alloc(16))

/**
 * The first `length` bytes of the pattern.
 *
 * @yields pieces of 64 KiB, the last one shorter
 */
export function* pattern(length: number): Generator<Buffer> {
  const stream = keystream()
  for (let left = length; left > 0; left -= PIECE.length)
    yield stream.update(left < PIECE.length ? PIECE.subarray(0, left) : PIECE)
}

/** SHA-256 of the first `length` bytes of the pattern, hexadecimal. */
export function patternDigest(length: number): string {
  const hash = createHash('sha256')
  for (const piece of pattern(length)) hash.update(piece)
  return hash.digest('hex')
}
