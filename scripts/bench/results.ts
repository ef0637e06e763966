/** Measured rounds in a file, so that one table can be filled by many short runs on a quiet machine. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'

/** Named numbers of one run. */
export type Figures = Record<string, number>

/** What a group of tests is called: each starts a stack of its own. */
export const groups = ['tcp', 'latency', 'held', 'udp', 'splice'] as const
export type Group = (typeof groups)[number]

/** One stack in one round of one group at one MTU (0 where there is none). */
export interface Measurement {
  readonly group: Group
  readonly mtu: number
  readonly round: number
  readonly stack: string
  readonly figures: Figures
  /** Why there are no figures. */
  readonly failure?: string
}

/** All rounds so far. */
export class Results {
  readonly measurements: Measurement[]
  readonly #path: string | undefined

  /** @param path - Goes on with the rounds of this file if it is there, and adds to it. */
  constructor(path: string | undefined) {
    this.#path = path
    this.measurements =
      path !== undefined && existsSync(path)
        ? (JSON.parse(readFileSync(path, 'utf8')) as Measurement[])
        : []
  }

  /** The number of the next round of a group at an MTU. */
  nextRound(group: Group, mtu: number): number {
    const rounds = this.measurements.filter((m) => m.group === group && m.mtu === mtu)
    return Math.max(0, ...rounds.map(({ round }) => round)) + 1
  }

  add(measurement: Measurement): void {
    this.measurements.push(measurement)
    if (this.#path !== undefined)
      writeFileSync(this.#path, `${JSON.stringify(this.measurements, undefined, 1)}\n`)
  }
}
