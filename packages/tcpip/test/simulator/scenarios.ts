/** The named scenarios: what each draws from a seed. */

import { type Random, seededRandom } from '@netkit/core'
import type { Fault } from './fault-link.ts'
import type { EndParameters, ScenarioParameters } from './scenario.ts'

type Faults = (random: Random) => readonly Fault[]

interface Recipe {
  /** Faults of each direction. */
  readonly faults: Faults
  readonly mayTimeOut: boolean
  /** Most bytes per direction. */
  readonly bytes: number
  /** Readers that take a little at a time. */
  readonly slowReaders?: boolean
  /** Within how many `ms` one end or both throw the connection away. */
  readonly resetsWithinMs?: number
}

const none: Faults = () => []
const some = (random: Random, from: number, to: number): number =>
  from + random.unit() * (to - from)

const RECIPES = {
  clean: { faults: none, mayTimeOut: false, bytes: 200_000 },
  'slow readers': { faults: none, mayTimeOut: false, bytes: 200_000, slowReaders: true },
  'light loss': {
    faults: (random) => [{ kind: 'loss', rate: some(random, 0, 0.05) }],
    mayTimeOut: false,
    bytes: 150_000,
  },
  'heavy loss': {
    faults: (random) => [{ kind: 'loss', rate: some(random, 0.05, 0.3) }],
    mayTimeOut: true,
    bytes: 40_000,
  },
  'burst loss': {
    faults: (random) => [
      { kind: 'burst-loss', rate: some(random, 0, 0.03), stay: some(random, 0.3, 0.9) },
    ],
    mayTimeOut: true,
    bytes: 100_000,
  },
  'loses only empty segments': {
    faults: (random) => [{ kind: 'loses-empty', rate: some(random, 0.05, 0.5) }],
    mayTimeOut: true,
    bytes: 80_000,
  },
  'dark for a second after a megabyte': {
    faults: () => [{ kind: 'goes-dark', bytes: 1_000_000, forMs: 1000 }],
    mayTimeOut: false,
    bytes: 1_200_000,
  },
  reordering: {
    faults: (random) => [
      { kind: 'reorder', rate: some(random, 0.01, 0.4), byMs: some(random, 1, 60) },
    ],
    mayTimeOut: false,
    bytes: 150_000,
  },
  duplication: {
    faults: (random) => [
      { kind: 'duplicate', rate: some(random, 0.01, 0.5), byMs: some(random, 0, 200) },
    ],
    mayTimeOut: false,
    bytes: 150_000,
  },
  'flipped bits': {
    faults: (random) => [{ kind: 'flip', rate: some(random, 0.005, 0.1) }],
    mayTimeOut: true,
    bytes: 80_000,
  },
  'partition and heal': {
    faults: (random) => {
      const fromMs = some(random, 0, 300)
      return [{ kind: 'partition', fromMs, untilMs: fromMs + some(random, 100, 100_000) }]
    },
    mayTimeOut: true,
    bytes: 400_000,
  },
  bottleneck: {
    faults: (random) => [
      {
        kind: 'bottleneck',
        bytesPerMs: some(random, 200, 20_000),
        queueBytes: some(random, 10_000, 200_000),
      },
    ],
    mayTimeOut: false,
    bytes: 300_000,
  },
  'an end in mid-flow': {
    faults: (random) => [
      { kind: 'loss', rate: some(random, 0, 0.1) },
      { kind: 'reorder', rate: some(random, 0, 0.2), byMs: some(random, 1, 40) },
    ],
    mayTimeOut: true,
    bytes: 150_000,
    slowReaders: true,
    resetsWithinMs: 1000,
  },
  everything: {
    faults: (random) => [
      { kind: 'loss', rate: some(random, 0, 0.1) },
      { kind: 'reorder', rate: some(random, 0, 0.2), byMs: some(random, 1, 40) },
      { kind: 'duplicate', rate: some(random, 0, 0.2), byMs: some(random, 0, 100) },
      { kind: 'flip', rate: some(random, 0, 0.03) },
    ],
    mayTimeOut: true,
    bytes: 60_000,
    slowReaders: true,
  },
} satisfies Record<string, Recipe>

/** A scenario's name. */
export type ScenarioName = keyof typeof RECIPES

/** All scenarios. */
export const SCENARIOS: readonly ScenarioName[] = Object.keys(RECIPES) as ScenarioName[]

/** The parameters that `seed` gives a scenario. */
export function scenario(name: ScenarioName, seed: number): ScenarioParameters {
  const recipe: Recipe = RECIPES[name]
  const random = seededRandom(seed).fork(name)
  const often = (rate: number): boolean => random.unit() < rate
  const pick = <T>(...choices: readonly [T, ...T[]]): T =>
    choices[random.below(choices.length)] ?? choices[0]
  const mss = pick(536, 1460, 1460, 8960, 65_480)
  const end = (): EndParameters => ({
    // Half of the runs cross the wrap of the sequence space.
    isn: often(0.5) ? (0x1_0000_0000 - random.below(2 * recipe.bytes)) >>> 0 : random.u32(),
    timestampOffset: often(0.3) ? (0x1_0000_0000 - random.below(1000)) >>> 0 : random.u32(),
    tcp: {
      sack: often(0.75),
      timestamps: often(0.75),
      windowScale: often(0.75),
      congestion: often(0.25) ? 'cubic' : 'newreno',
      nagle: often(0.1),
      receiveBuffer: often(0.2)
        ? { initial: 4096 + random.below(30_000), maximum: 40_000 }
        : { initial: 131_072, maximum: 4_194_304 },
      // Or an end would wait for ever for a peer that gave up and whose RST was lost.
      keepAlive: { idleMs: 120_000, intervalMs: 20_000, probes: 9 },
    },
    bytes: often(0.1) ? random.below(3) : random.below(recipe.bytes),
    writeBytes: pick(1 + random.below(2000), 16_384, 262_144),
    writeEveryMs: often(0.3) ? random.below(20) : 0,
    readPer10Ms: recipe.slowReaders && often(0.7) ? 500 + random.below(20_000) : null,
    faults: recipe.faults(random),
    resetAtMs: null,
  })
  const thrownAway = (of: EndParameters, whose: boolean): EndParameters =>
    recipe.resetsWithinMs === undefined || !whose
      ? of
      : { ...of, resetAtMs: some(random, 0, recipe.resetsWithinMs) }
  const ends = [end(), end()] as const
  const resetting = random.below(3)
  return {
    name,
    seed,
    mss,
    delayMs: pick(0.05, 1, 10, some(random, 0, 80)),
    batchMs: pick(0, 0, 1, 5),
    lossless: often(0.5),
    ends: [thrownAway(ends[0], resetting !== 1), thrownAway(ends[1], resetting !== 0)],
    mayTimeOut: recipe.mayTimeOut,
  }
}
