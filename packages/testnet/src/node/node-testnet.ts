/** A test network whose hosts have Node's sockets. */

import { clockOf, Testnet } from '../testnet.ts'
import type { TestnetOptions } from '../testnet.ts'
import { NodeHost } from './node-host.ts'
import type { Exposed, ProgramTime } from './node-host.ts'
import { realTimers } from './originals.ts'
import { isWorkPending, watchPendingWork } from './pending-work.ts'

/** Options of `createTestnet`. */
export interface NodeTestnetOptions extends TestnetOptions {
  /**
   * Whose time programs see inside of `host.run`: with `net` (the default) `setTimeout`, `AbortSignal.timeout`, `Date` and their
   * kin follow the net's clock; with `platform` they are real. With `clock: 'ambient'` they are the platform's in any case.
   */
  timers?: ProgramTime
}

const turn = (run: () => void): void => void realTimers.setImmediate(run)

/** See above. */
export class NodeTestnet extends Testnet<NodeHost> {
  readonly #watch: Disposable

  constructor(options: NodeTestnetOptions) {
    const { timers = 'net' } = options
    const clock = clockOf({ busy: isWorkPending, ...options }, turn)
    super(options, clock, (net, name, of) => new NodeHost(net, name, { ...of, timers }))
    this.#watch = watchPendingWork()
  }

  /** Bridges a port of a host to one of the real 127.0.0.1: `host.expose(port)`. */
  expose(host: NodeHost | string, port: number): Promise<Exposed> {
    return this.get(host instanceof NodeHost ? host.name : host).expose(port)
  }

  /** Ends the connections that `fetch` and agents of hosts keep for later, on all hosts. */
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
export function createTestnet(options: NodeTestnetOptions = {}): NodeTestnet {
  return new NodeTestnet(options)
}
