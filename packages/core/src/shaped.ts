/** Shaping of single flows: what is dialled through it is on a slower line. */

import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import type { Dialer } from './network.ts'
import { ShapedStream } from './shaped-stream.ts'
import type { StreamShape } from './shaped-stream.ts'

/** Options of `shaped`. */
export interface ShapedOptions {
  clock?: Clock
}

/**
 * The same dialer, whose streams each have a rate and a latency of their own. A gateway's router gives it to the flows it is meant for:
 * `{ action: 'dial', network: shaped(network, { toPeer: { rateBps: 1e6 } }) }`.
 *
 * @example
 * ```ts
 * import { memoryNetwork, readAll, shaped, writeAll } from '@netkit/core'
 *
 * const network = memoryNetwork()
 * await network.listen({ ip: '203.0.113.5', port: 80 }, async (stream) => {
 *   await writeAll(stream, 'slowly')
 *   stream.end()
 * })
 * const slow = shaped(network, { fromPeer: { rateBps: 1_000_000, latencyMs: 5 } })
 * const stream = await slow.connect({ ip: '203.0.113.5', port: 80 })
 * console.assert(new TextDecoder().decode(await readAll(stream)) === 'slowly')
 * stream.end()
 * ```
 */
export function shaped(dialer: Dialer, shape: StreamShape, options: ShapedOptions = {}): Dialer {
  const clock = options.clock ?? systemClock
  return {
    connect: async (to, how) => new ShapedStream(await dialer.connect(to, how), shape, clock),
  }
}
