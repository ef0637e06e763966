/**
 * `node:test` with a net for each test.
 *
 * @packageDocumentation
 */

import { test as nodeTest } from 'node:test'
import type { TestContext, TestOptions } from 'node:test'
import { reportFailure, seedFor } from '../node/failure-report.ts'
import { blockRealNetwork } from '../node/install.ts'
import { assertNoLeaks } from '../node/leaks.ts'
import { createTestnet } from '../node/node-testnet.ts'
import type { NodeTestnet } from '../node/node-testnet.ts'

/** What a test gets. */
export interface TestnetContext {
  /** A net of the test's own, seeded from its name, with the real network out of reach. */
  readonly net: NodeTestnet
  /** `node:test`'s own. */
  readonly t: TestContext
}

/**
 * `test` of `node:test`, with `net`. A test that passes must have closed the connections it opened; of one that fails, the capture
 * is kept, and a diagnostic says how to see it again.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 * import { test } from '@netkit/testnet/node-test'
 *
 * await test('answers over a slow link', async ({ net, t }) => {
 *   const [app, api] = [net.host('app'), net.host('api.test')]
 *   await api.listen(createServer((_, response) => response.end('hello')), 80)
 *   net.link(app, api).set({ latency: 80 })
 *   const response = await app.fetch('http://api.test/')
 *   t.assert.equal(await response.text(), 'hello')
 * })
 * ```
 */
export function test(
  name: string,
  run: (context: TestnetContext) => void | Promise<void>,
  options: TestOptions = {},
): Promise<void> {
  return nodeTest(name, options, async (t) => {
    // oxlint-disable-next-line no-underscore-dangle -- held until the end of the scope, and not used otherwise
    using _block = blockRealNetwork()
    await using net = createTestnet({ seed: seedFor(name) })
    const report = (): string =>
      reportFailure(net, name, `node --test --test-name-pattern ${JSON.stringify(name)}`)
    try {
      await run({ net, t })
    } catch (error) {
      t.diagnostic(report())
      throw error
    }
    await assertNoLeaks(net, report)
  })
}
