/**
 * What the evaluator and its worker say to each other.
 *
 * ```
 *   evaluator ── load, find ──▶ worker          one question at a time
 *   evaluator ◀── answer ────── worker
 *   evaluator ◀── resolve ───── worker          the worker waits on `lookup` until the addresses are in it: scripts know no promises
 * ```
 */

/** To the worker. */
export type PacQuestion =
  | { readonly kind: 'load'; readonly script: string; readonly addresses: readonly string[] }
  | { readonly kind: 'find'; readonly url: string; readonly host: string }

/** From the worker. */
export type PacReply =
  | { readonly kind: 'answer'; readonly value: string }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'resolve'; readonly name: string }

/** Bytes of the memory that a lookup's answer comes in: room for 40 addresses. */
export const LOOKUP_BYTES = 2048

/** A lookup's answer in memory that both sides see: 0 waiting, 1 done; the length; then addresses with `;` between them, as ASCII. */
export class LookupMemory {
  readonly buffer: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #bytes: Uint8Array

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(8 + LOOKUP_BYTES)) {
    this.buffer = buffer
    this.#words = new Int32Array(buffer, 0, 2)
    this.#bytes = new Uint8Array(buffer, 8)
  }

  /** The worker's side: asks, and waits for the answer. */
  wait(ask: () => void): readonly string[] {
    Atomics.store(this.#words, 0, 0)
    ask()
    // Whoever answers has a deadline, and ends the worker where it does not keep it.
    Atomics.wait(this.#words, 0, 0)
    const length = Atomics.load(this.#words, 1)
    const text = Buffer.from(this.#bytes.slice(0, length)).toString('latin1')
    return text === '' ? [] : text.split(';')
  }

  /** The evaluator's side: gives the answer. */
  answer(addresses: readonly string[]): void {
    let text = ''
    for (const ip of addresses) {
      const longer = text === '' ? ip : `${text};${ip}`
      if (longer.length > LOOKUP_BYTES) break
      text = longer
    }
    this.#bytes.set(Buffer.from(text, 'latin1'))
    Atomics.store(this.#words, 1, text.length)
    Atomics.store(this.#words, 0, 1)
    Atomics.notify(this.#words, 0)
  }
}
