/**
 * SipHash-2-4 (Aumasson, Bernstein 2012), the keyed hash that Linux makes its sequence numbers with: short, fast, and without its
 * key not predictable. 64-bit words are pairs of 32-bit halves, since JavaScript has no cheaper integer.
 */

// State words v0…v3 as (high, low); module variables, because a round touches all of them and allocates nothing.
let v0h = 0
let v0l = 0
let v1h = 0
let v1l = 0
let v2h = 0
let v2l = 0
let v3h = 0
let v3l = 0

/** A word added to another, carry into the high half. */
const carry = (sum: number, addend: number): number => (sum >>> 0 < addend >>> 0 ? 1 : 0)

function round(): void {
  let h: number
  // v0 += v1; v1 = rotl(v1, 13) ^ v0; v0 = rotl(v0, 32)
  v0l = (v0l + v1l) | 0
  v0h = (v0h + v1h + carry(v0l, v1l)) | 0
  h = (v1h << 13) | (v1l >>> 19)
  v1l = ((v1l << 13) | (v1h >>> 19)) ^ v0l
  v1h = h ^ v0h
  h = v0h
  v0h = v0l
  v0l = h
  // v2 += v3; v3 = rotl(v3, 16) ^ v2
  v2l = (v2l + v3l) | 0
  v2h = (v2h + v3h + carry(v2l, v3l)) | 0
  h = (v3h << 16) | (v3l >>> 16)
  v3l = ((v3l << 16) | (v3h >>> 16)) ^ v2l
  v3h = h ^ v2h
  // v0 += v3; v3 = rotl(v3, 21) ^ v0
  v0l = (v0l + v3l) | 0
  v0h = (v0h + v3h + carry(v0l, v3l)) | 0
  h = (v3h << 21) | (v3l >>> 11)
  v3l = ((v3l << 21) | (v3h >>> 11)) ^ v0l
  v3h = h ^ v0h
  // v2 += v1; v1 = rotl(v1, 17) ^ v2; v2 = rotl(v2, 32)
  v2l = (v2l + v1l) | 0
  v2h = (v2h + v1h + carry(v2l, v1l)) | 0
  h = (v1h << 17) | (v1l >>> 15)
  v1l = ((v1l << 17) | (v1h >>> 15)) ^ v2l
  v1h = h ^ v2h
  h = v2h
  v2h = v2l
  v2l = h
}

/**
 * Hashes `bytes` under a key of 16 bytes.
 *
 * @returns The low and the high 32 bits, unsigned.
 */
export function siphash(key: Uint8Array, bytes: Uint8Array): { low: number; high: number } {
  const k = new DataView(key.buffer, key.byteOffset, 16)
  const k0l = k.getUint32(0, true)
  const k0h = k.getUint32(4, true)
  const k1l = k.getUint32(8, true)
  const k1h = k.getUint32(12, true)
  v0h = 0x736f6d65 ^ k0h
  v0l = 0x70736575 ^ k0l
  v1h = 0x646f7261 ^ k1h
  v1l = 0x6e646f6d ^ k1l
  v2h = 0x6c796765 ^ k0h
  v2l = 0x6e657261 ^ k0l
  v3h = 0x74656462 ^ k1h
  v3l = 0x79746573 ^ k1l
  // The last word holds what is left over and the length in its top byte.
  const padded = new Uint8Array(Math.floor(bytes.length / 8) * 8 + 8)
  padded.set(bytes)
  padded[padded.length - 1] = bytes.length & 0xff
  const words = new DataView(padded.buffer)
  for (let i = 0; i < padded.length; i += 8) {
    const low = words.getInt32(i, true)
    const high = words.getInt32(i + 4, true)
    v3l ^= low
    v3h ^= high
    round()
    round()
    v0l ^= low
    v0h ^= high
  }
  v2l ^= 0xff
  for (let i = 0; i < 4; i++) round()
  return { low: (v0l ^ v1l ^ v2l ^ v3l) >>> 0, high: (v0h ^ v1h ^ v2h ^ v3h) >>> 0 }
}
