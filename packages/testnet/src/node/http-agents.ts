/**
 * Pools of `http.Agent`: a connection that one host left behind is not another's, though both call the server by the same name.
 *
 * An agent keeps connections by `getName(options)`. It asks with an options object of its own making when a request comes, and with
 * a copy of that when the connection is free again: the host is written there the first time, since the second time the running
 * code may be anybody's.
 */

import { Agent } from 'node:http'
import { currentHost } from './context.ts'
import type { SocketHost } from './socket-host.ts'

const OWNER: unique symbol = Symbol('netkit virtual host')

type Owned = NonNullable<Parameters<Agent['getName']>[0]> & { [OWNER]?: SocketHost }

const numbers = new WeakMap<SocketHost, number>()
let lastNumber = 0

/** Replaces `http.Agent.prototype.getName`, which `https.Agent` calls too. */
export function hookHttpAgent(): void {
  // oxlint-disable-next-line typescript/unbound-method -- called with its agent
  const real = Agent.prototype.getName
  Agent.prototype.getName = function hooked(this: Agent, options: Owned = {}) {
    const owner = options[OWNER] ?? currentHost()
    const name = real.call(this, options)
    if (owner === undefined) return name
    if (Object.isExtensible(options)) options[OWNER] = owner
    return `${name}:${numberOf(owner)}`
  }
}

function numberOf(host: SocketHost): number {
  const known = numbers.get(host)
  if (known !== undefined) return known
  numbers.set(host, ++lastNumber)
  return lastNumber
}
