/**
 * vitest with a net for each test that asks for one.
 *
 * @packageDocumentation
 */

import { NetkitError } from '@netkit/core'
import { expect, test as base } from 'vitest'
import type { TestAPI } from 'vitest'
import { reportFailure, seedFor } from '../node/failure-report.ts'
import { blockRealNetwork } from '../node/install.ts'
import { createTestnet } from '../node/node-testnet.ts'
import type { NodeTestnet } from '../node/node-testnet.ts'
import { matches } from '../packet.ts'
import type { PacketFilter } from '../packet.ts'
import type { Tap } from '../tap.ts'

/** What tests can ask for. */
export interface TestnetFixtures {
  /**
   * A net of the test's own, seeded from its name, with the real network out of reach. A test that passes must have closed the
   * connections it opened; of one that fails, the capture is kept and the failure is annotated with how to see it again.
   */
  net: NodeTestnet
}

/** `test` of vitest, with `net`. */
export const test: TestAPI<TestnetFixtures> = base.extend<TestnetFixtures>({
  net: async ({ task, annotate }, use) => {
    const block = blockRealNetwork()
    const net = createTestnet({ seed: seedFor(task.name) })
    try {
      await use(net)
      if (task.result?.state === 'fail') {
        await annotate(reportFailure(net, task.name), 'error')
      } else {
        await net.closePools()
        assertNoLeaks(net)
      }
    } finally {
      block[Symbol.dispose]()
      await net.close()
    }
  },
})

export { expect }

/** Connections that a test opened and left. Listeners end with the net. */
function leaksOf(net: NodeTestnet): string[] {
  return net
    .leaks()
    .filter(({ protocol, state }) => protocol === 'tcp' && state !== 'LISTEN')
    .map(
      ({ host, local, openedAt }) =>
        `${host}: port ${'port' in local ? local.port : ''}, opened at ${openedAt}`,
    )
}

function assertNoLeaks(net: NodeTestnet): void {
  const leaks = leaksOf(net)
  if (leaks.length === 0) return
  throw new NetkitError(
    'NETKIT_TESTNET_LEAK',
    `The test left ${leaks.length} connections open. End them before it is over:\n${leaks.join('\n')}`,
  )
}

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
