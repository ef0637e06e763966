/** The controls of a link between two hosts. */

import { NetkitError } from '@netkit/core'
import type { Impairment, ImpairmentStats } from '@netkit/frames'
import { milliseconds } from './duration.ts'
import type { Duration } from './duration.ts'
import type { Fabric, Path } from './fabric.ts'

/** What a link does to packets, in each direction. Rates are probabilities, 0 to 1. */
export interface LinkConditions {
  /** One way. Default 0. */
  latency?: Duration
  /** The latency varies by up to this, up and down; order is kept. Default 0. */
  jitter?: Duration
  /** Packets that are lost. Default 0. */
  loss?: number
  /** Packets that arrive twice. Default 0. */
  duplicate?: number
  /** Packets that fall behind later ones. Default 0. */
  reorder?: number
  /** Packets in which a bit is flipped. Default 0. */
  corrupt?: number
  /** Bits per second. Default unlimited. */
  rate?: number
  /** Bytes that wait for the wire before packets are dropped. Default 256 KiB. */
  queueBytes?: number
}

/** Conditions by name: `link.set(conditions.wan)`. */
export const conditions = {
  lan: { latency: 0.2 },
  wan: { latency: 40, jitter: 5, loss: 0.001 },
  lte: { latency: 35, jitter: 15, loss: 0.005, rate: 12_000_000 },
  satellite: { latency: 300, jitter: 10, loss: 0.005, rate: 20_000_000 },
  'cross-region': { latency: 75, jitter: 2 },
} as const satisfies Record<string, LinkConditions>

/** Counters of both directions. */
export interface LinkStats {
  readonly there: ImpairmentStats
  readonly back: ImpairmentStats
}

/** A link between two hosts, or one direction of it. */
export interface Link {
  /** Conditions that hold from now on; those not named stay as they are. */
  set(changes: LinkConditions): this
  /** Only the packets towards this host: `net.link(a, b).towards(b)`. */
  towards(host: { readonly name: string }): Link
  /** Fate of the packets that met conditions. */
  stats(): LinkStats
}

/** The link over its two paths; `active` are those that `set` changes. */
export class PathLink implements Link {
  readonly #fabric: Fabric
  readonly #there: Path
  readonly #back: Path
  readonly #active: readonly Path[]

  constructor(fabric: Fabric, there: Path, back: Path, active: readonly Path[] = [there, back]) {
    this.#fabric = fabric
    this.#there = there
    this.#back = back
    this.#active = active
  }

  set(changes: LinkConditions): this {
    const impairment = toImpairment(changes)
    for (const path of this.#active) {
      Object.assign(path.lane.settings, impairment)
      this.#fabric.impaired(path)
    }
    return this
  }

  towards({ name }: { readonly name: string }): Link {
    const path = [this.#there, this.#back].find(({ to }) => to.name === name)
    if (path === undefined) {
      throw new NetkitError(
        'NETKIT_TESTNET_LINK',
        `towards('${name}'): this link joins '${this.#there.from.name}' and '${this.#there.to.name}'. Name one of them.`,
      )
    }
    return new PathLink(this.#fabric, this.#there, this.#back, [path])
  }

  stats(): LinkStats {
    return { there: this.#there.lane.stats(), back: this.#back.lane.stats() }
  }
}

function toImpairment(from: LinkConditions): Impairment {
  for (const rate of ['loss', 'duplicate', 'reorder', 'corrupt'] as const) {
    const value = from[rate]
    if (value !== undefined && !(value >= 0 && value <= 1)) {
      throw new NetkitError(
        'NETKIT_TESTNET_LINK',
        `${rate}: ${value} is not a probability. Write a number from 0 to 1: 0.02 is 2 %.`,
      )
    }
  }
  const { latency, jitter, loss, duplicate, reorder, corrupt, rate, queueBytes } = from
  return {
    ...(latency !== undefined && { delayMs: milliseconds(latency) }),
    ...(jitter !== undefined && { jitterMs: milliseconds(jitter) }),
    ...(loss !== undefined && { loss }),
    ...(duplicate !== undefined && { duplicate }),
    ...(reorder !== undefined && { reorder }),
    ...(corrupt !== undefined && { corrupt }),
    ...(rate !== undefined && { rateBps: rate }),
    ...(queueBytes !== undefined && { rateQueueBytes: queueBytes }),
  }
}
