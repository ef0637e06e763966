import type { Answer, Layer, Next } from '../layer.ts'
import type { DnsQuery } from '../query.ts'
import { parseName } from '../wire/name.ts'
import type { Name } from '../wire/name.ts'
import { NameTable } from '../wire/name-table.ts'

/** Sends each name to the layer of its longest suffix. The table can be changed at any time. */
export class Routes implements Layer {
  readonly name = 'route'
  readonly #table = new NameTable<{ readonly suffix: string; readonly to: Layer }>()
  readonly #listeners = new Set<() => void>()

  /** Names at and below `suffix` go to `to`; `.` is everything else. @throws NetkitError `NETKIT_DNS_NAME` */
  set(suffix: string, to: Layer): this {
    this.#table.set(parseName(suffix), { suffix, to })
    for (const run of this.#listeners) run()
    return this
  }

  /** Removes a route; says whether it was there. */
  delete(suffix: string): boolean {
    const found = this.#table.delete(parseName(suffix))
    if (found) for (const run of this.#listeners) run()
    return found
  }

  /** The layer that a name goes to. */
  of(name: Name): Layer | undefined {
    return this.#table.longest(name)?.to
  }

  /** Runs `run` after each change; returns what removes the listener. */
  onChange(run: () => void): () => void {
    this.#listeners.add(run)
    return () => this.#listeners.delete(run)
  }

  answer(query: DnsQuery, next: Next): Answer {
    const route = this.#table.longest(query.name)
    if (!route) return next(query)
    query.trace?.note(this.name, `${route.suffix} leads to ${route.to.name}`)
    return route.to.answer(query, next)
  }
}

/**
 * Routes by longest suffix.
 *
 * @example
 * ```ts
 * import { createResponder, routes, zones } from '@netkit/dns'
 *
 * const office = zones().set('wiki.corp.test', { type: 'A', data: '192.0.2.1' })
 * const table = routes({ 'corp.test': office })
 * const { steps } = await createResponder({ layers: [table] }).explain('wiki.corp.test')
 * console.assert(steps[0]?.did === 'corp.test leads to zones')
 * ```
 */
export function routes(table: Readonly<Record<string, Layer>> = {}): Routes {
  const layer = new Routes()
  for (const [suffix, to] of Object.entries(table)) layer.set(suffix, to)
  return layer
}
