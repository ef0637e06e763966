/**
 * vitest with a net for each test that asks for one.
 *
 * @packageDocumentation
 */

import { expect, test as base } from 'vitest'
import type { TestAPI } from 'vitest'
import { reportFailure, seedFor } from '../node/failure-report.ts'
import { blockRealNetwork } from '../node/install.ts'
import { assertNoLeaks, leaksOf } from '../node/leaks.ts'
import { createTestnet } from '../node/node-testnet.ts'
import type { NodeTestnet } from '../node/node-testnet.ts'
import { matches } from '../packet.ts'
import type { PacketFilter } from '../packet.ts'
import type { Tap } from '../tap.ts'

/** What tests can ask for. */
export interface TestnetFixtures {
  /**
   * A net of the test's own, seeded from its name, with the real network out of reach. A test that passes must have closed the
   * connections it opened; of one that fails, the capture is kept, and its message says how to see it again.
   */
  net: NodeTestnet
}

/** `test` of vitest, with `net`. */
export const test: TestAPI<TestnetFixtures> = base.extend<TestnetFixtures>({
  net: async ({ task }, use) => {
    // oxlint-disable-next-line no-underscore-dangle -- held until the end of the scope, and not used otherwise
    using _block = blockRealNetwork()
    await using net = createTestnet({ seed: seedFor(task.name) })
    const report = (): string =>
      reportFailure(net, task.name, `vitest run -t ${JSON.stringify(task.name)}`)
    await use(net)
    // A test that is over takes no annotations: the report goes where the reader looks, below the first error.
    const [error] = task.result?.errors ?? []
    if (error !== undefined) error.message += `\n\n${report()}`
    else await assertNoLeaks(net, report)
  },
})

export { expect }

interface TestnetMatchers<R = unknown> {
  /** A tap has a packet that matches. */
  toHaveSeen(filter: PacketFilter): R
  /** A tap has at least one retransmission, or exactly `count`. */
  toHaveRetransmitted(count?: number): R
  /** A net has no connection left that the program opened. */
  toHaveNoLeaks(): R
}

declare module 'vitest' {
  // oxlint-disable-next-line no-unused-vars, typescript/no-empty-object-type, typescript/no-empty-interface -- vitest's own parameters
  interface Matchers<
    R extends void | Promise<void> = void | Promise<void>,
    T = unknown,
  > extends TestnetMatchers<R> {}
}

expect.extend({
  toHaveSeen(tap: Tap, filter: PacketFilter) {
    const pass = tap.packets.some((packet) => matches(packet, filter))
    const seen = `${tap.packets.length} packets were seen:\n${tap.toString()}`
    return { pass, message: () => `expected ${pass ? 'no' : 'a'} packet to match; ${seen}` }
  },
  toHaveRetransmitted(tap: Tap, count?: number) {
    const found = tap.retransmissions()
    const pass = count === undefined ? found.length > 0 : found.length === count
    const wanted = count ?? 'at least one'
    return {
      pass,
      message: () =>
        `expected ${pass ? 'not ' : ''}${wanted} retransmissions, of ${found.length}:\n${found.join('\n')}`,
    }
  },
  toHaveNoLeaks(net: NodeTestnet) {
    const leaks = leaksOf(net)
    return {
      pass: leaks.length === 0,
      message: () => `expected ${leaks.length === 0 ? 'leaks' : 'no leaks'}:\n${leaks.join('\n')}`,
    }
  },
})
