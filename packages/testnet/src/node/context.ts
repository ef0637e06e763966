/** Which host the running code belongs to. */

import { AsyncLocalStorage } from 'node:async_hooks'
import type { SocketHost } from './socket-host.ts'

const storage = new AsyncLocalStorage<SocketHost | undefined>()

/** The host whose `run` we are in. */
export function currentHost(): SocketHost | undefined {
  return storage.getStore()
}

/** Runs `run`, and whatever follows from it, on the host. */
export function runOn<T>(host: SocketHost | undefined, run: () => T): T {
  return storage.run(host, run)
}
