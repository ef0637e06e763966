/** A test network whose hosts have Node's sockets. */

import { setImmediate } from 'node:timers'
import { clockOf, Testnet } from '../testnet.ts'
import type { TestnetOptions } from '../testnet.ts'
import { NodeHost } from './node-host.ts'
import { isWorkPending, watchPendingWork } from './pending-work.ts'

/** See above. */
export class NodeTestnet extends Testnet<NodeHost> {
  readonly #watch: Disposable

  constructor(options: TestnetOptions) {
    // The import stays real under fake timers, which replace the global.
    const clock = clockOf({ busy: isWorkPending, ...options }, (run) => void setImmediate(run))
    super(options, clock, (net, name, of) => new NodeHost(net, name, of))
    this.#watch = watchPendingWork()
  }

  /** Ends the connections that `fetch` keeps for later, on all hosts. */
  async closePools(): Promise<void> {
    for (const host of this.hosts) await host.closePool()
    await this.settle()
  }

  override async close(): Promise<void> {
    this.#watch[Symbol.dispose]()
    await super.close()
  }
}

/**
 * An empty net of virtual hosts for programs of Node.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 * import { createTestnet } from '@netkit/testnet/node'
 *
 * await using net = createTestnet({ seed: 7 })
 * const app = net.host('app')
 * const api = net.host('api.test')
 * await api.listen(createServer((_, response) => response.end('hello')), 80)
 * net.link(app, api).set({ latency: 80 })
 * const response = await app.fetch('http://api.test/')
 * console.assert((await response.text()) === 'hello')
 * ```
 */
export function createTestnet(options: TestnetOptions = {}): NodeTestnet {
  return new NodeTestnet(options)
}
