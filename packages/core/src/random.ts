/**
 * Chance as a parameter. The default is the platform's CSPRNG (sequence numbers, DNS ids and ports must not be guessable);
 * a seeded one is asked for, by tests and simulations.
 */

/** A source of randomness. */
export interface Random {
  /** 32 uniform bits, `0 … 2^32-1`. */
  u32(): number
  /** A uniform integer in `0 … bound-1`, without modulo bias. `bound` is `1 … 2^32`. */
  below(bound: number): number
  /** A uniform double in `[0, 1)`. */
  unit(): number
  /** Fills `into` with random bytes. */
  fill(into: Uint8Array<ArrayBuffer>): void
  /** A stream of its own for one concern: drawing from it leaves the parent's and its siblings' luck as it was. */
  fork(label: string): Random
}

abstract class RandomBase implements Random {
  abstract u32(): number
  abstract fork(label: string): Random

  below(bound: number): number {
    // Values above the largest multiple of `bound` would favour small results.
    const limit = 2 ** 32 - (2 ** 32 % bound)
    for (;;) {
      const value = this.u32()
      if (value < limit) return value % bound
    }
  }

  unit(): number {
    return this.u32() / 2 ** 32
  }

  fill(into: Uint8Array<ArrayBuffer>): void {
    for (let i = 0; i < into.length; i += 4) {
      const value = this.u32()
      for (let j = 0; j < 4 && i + j < into.length; j++) into[i + j] = (value >>> (8 * j)) & 0xff
    }
  }
}

class SystemRandom extends RandomBase {
  // One call into the platform per 256 numbers.
  readonly #pool = new Uint32Array(256)
  #next = 256

  u32(): number {
    if (this.#next === this.#pool.length) {
      globalThis.crypto.getRandomValues(this.#pool)
      this.#next = 0
    }
    return this.#pool[this.#next++] ?? 0
  }

  override fill(into: Uint8Array<ArrayBuffer>): void {
    // getRandomValues refuses more than 65,536 bytes at once.
    for (let i = 0; i < into.length; i += 65_536) {
      globalThis.crypto.getRandomValues(into.subarray(i, i + 65_536))
    }
  }

  fork(): Random {
    return this
  }
}

/** The platform's CSPRNG. */
export const systemRandom: Random = new SystemRandom()

class SeededRandom extends RandomBase {
  readonly #seed: number
  // sfc32's state (Chris Doty-Humphrey's small fast counting generator).
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number) {
    super()
    this.#seed = seed >>> 0
    this.#a = 0x9e3779b9
    this.#b = 0x243f6a88
    this.#c = this.#seed
    for (let i = 0; i < 15; i++) this.u32()
  }

  u32(): number {
    const sum = (this.#a + this.#b + this.#counter++) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    return sum >>> 0
  }

  fork(label: string): Random {
    // FNV-1a of the label over the seed: the same label of the same seed is the same stream, whatever was drawn before.
    let hash = (0x811c9dc5 ^ this.#seed) >>> 0
    for (let i = 0; i < label.length; i++)
      hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193) >>> 0
    return new SeededRandom(hash)
  }
}

/**
 * The same seed gives the same numbers, on every platform.
 *
 * @example
 * ```ts
 * import { seededRandom } from '@netkit/core'
 *
 * console.assert(seededRandom(7).u32() === seededRandom(7).u32())
 * console.assert(seededRandom(7).fork('loss').u32() !== seededRandom(7).fork('delay').u32())
 * ```
 */
export function seededRandom(seed: number): Random {
  return new SeededRandom(seed)
}
