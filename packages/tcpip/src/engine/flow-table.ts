import { mix } from '../address.ts'
import type { TcpFlow } from './tcp-flow.ts'

/**
 * TCP flows by 4-tuple: a power-of-two array of chains. A lookup makes no key and compares words; the hash is keyed with a
 * secret, so that a guest cannot choose tuples that all fall into one chain.
 */
export class FlowTable {
  readonly #secret: number
  #buckets: (TcpFlow | undefined)[] = Array.from({ length: 64 }, () => undefined)
  #size = 0

  /** @param secret - 32 random bits. */
  constructor(secret: number) {
    this.#secret = secret | 0
  }

  get size(): number {
    return this.#size
  }

  /** The flow between our address `o…`, port `ourPort` and the peer's address `p…`, port `peerPort`. */
  get(
    oa: number,
    ob: number,
    oc: number,
    od: number,
    ourPort: number,
    pa: number,
    pb: number,
    pc: number,
    pd: number,
    peerPort: number,
  ): TcpFlow | undefined {
    const hash = this.#hash(oa, ob, oc, od, ourPort, pa, pb, pc, pd, peerPort)
    let flow = this.#buckets[hash & (this.#buckets.length - 1)]
    while (flow) {
      if (
        flow.hash === hash &&
        flow.peerPort === peerPort &&
        flow.ourPort === ourPort &&
        flow.ourAddress.is(oa, ob, oc, od) &&
        flow.peerAddress.is(pa, pb, pc, pd)
      )
        return flow
      flow = flow.next
    }
    return undefined
  }

  /** Adds a flow whose 4-tuple is not in the table. */
  add(flow: TcpFlow): void {
    if (this.#size >= this.#buckets.length) this.#grow()
    const o = flow.ourAddress
    const p = flow.peerAddress
    flow.hash = this.#hash(o.a, o.b, o.c, o.d, flow.ourPort, p.a, p.b, p.c, p.d, flow.peerPort)
    this.#link(flow)
    this.#size++
  }

  /** Takes a flow out. Nothing happens when it is not in. */
  remove(flow: TcpFlow): void {
    const index = flow.hash & (this.#buckets.length - 1)
    let before: TcpFlow | undefined
    for (let at = this.#buckets[index]; at; before = at, at = at.next) {
      if (at !== flow) continue
      if (before) before.next = flow.next
      else this.#buckets[index] = flow.next
      flow.next = undefined
      this.#size--
      return
    }
  }

  /** All flows, as they are now. */
  all(): TcpFlow[] {
    const flows: TcpFlow[] = []
    for (const first of this.#buckets) for (let at = first; at; at = at.next) flows.push(at)
    return flows
  }

  #hash(
    oa: number,
    ob: number,
    oc: number,
    od: number,
    ourPort: number,
    pa: number,
    pb: number,
    pc: number,
    pd: number,
    peerPort: number,
  ): number {
    const ends = mix(this.#secret ^ od, pd)
    // The upper words are constant for IPv4.
    const upper = oa ^ ob ^ Math.imul(oc, 31) ^ Math.imul(pa ^ pb ^ Math.imul(pc, 31), 17)
    return mix(ends ^ upper, (ourPort << 16) | peerPort)
  }

  #link(flow: TcpFlow): void {
    const index = flow.hash & (this.#buckets.length - 1)
    flow.next = this.#buckets[index]
    this.#buckets[index] = flow
  }

  #grow(): void {
    const flows = this.all()
    this.#buckets = Array.from({ length: this.#buckets.length * 2 }, () => undefined)
    for (const flow of flows) this.#link(flow)
  }
}
