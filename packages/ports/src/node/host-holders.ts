/** Why a port of this host cannot be had. */

import type { PortHolder } from '@netkit/core'
import { addressScope } from '@netkit/core'
import { hostCommands } from '@netkit/core/node'
import type { HostCommands } from '@netkit/core/node'
import type { BoundAddress } from '../bind-overlap.ts'
import type { BindObstacle, HolderLookup } from '../holder-lookup.ts'
import type { HostAddresses } from '../udp-faces.ts'
import { bindWay } from './bind-way.ts'
import type { BindFacts } from './bind-way.ts'
import { findDarwinHolder } from './darwin-holders.ts'
import { bindFacts, hostAddresses } from './host-facts.ts'
import { findLinuxHolder } from './linux-holders.ts'
import type { LinuxHolderOptions } from './linux-holders.ts'
import { findExcludedRange, findWindowsHolder } from './windows-holders.ts'

/** Options of `hostHolders`. */
export interface HostHoldersOptions {
  readonly facts?: BindFacts
  readonly addresses?: HostAddresses
  readonly commands?: HostCommands
  readonly linux?: LinuxHolderOptions
  /** What the privileged helper says of itself: `missing` and what to do, or `ready`. Default: no helper is used. */
  readonly helper?: () => { readonly ready: boolean; readonly hint: string }
}

/**
 * Finds who holds a port of this host, and what else stands in the way.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:net'
 * import { once } from 'node:events'
 * import { hostHolders } from '@netkit/ports/node'
 *
 * const server = createServer().listen(0, '127.0.0.1')
 * await once(server, 'listening')
 * const { port } = server.address()
 * const at = { protocol: 'tcp', ip: '127.0.0.1', port }
 * const holder = await hostHolders().find(at, AbortSignal.timeout(5000))
 * console.assert(holder?.kind === 'process' && holder.pid === process.pid)
 * server.close()
 * ```
 */
export function hostHolders(options: HostHoldersOptions = {}): HolderLookup {
  const { facts = bindFacts(), addresses = hostAddresses(), commands = hostCommands } = options
  const find = (at: BoundAddress, signal: AbortSignal): Promise<PortHolder | undefined> => {
    if (facts.platform === 'darwin') return findDarwinHolder(at, signal, commands)
    if (facts.platform === 'win32') return findWindowsHolder(at, signal, commands)
    return findLinuxHolder(at, signal, options.linux)
  }
  const obstacle = async (
    at: BoundAddress,
    signal: AbortSignal,
  ): Promise<BindObstacle | undefined> => {
    if (!isOwn(at.ip, facts, addresses)) {
      return {
        code: 'EADDRNOTAVAIL',
        hint: `Publish on an address of this host (${addresses.list().join(', ')}), or on 0.0.0.0.`,
      }
    }
    if (facts.platform === 'win32') {
      const holder = await findExcludedRange(at, signal, commands)
      return holder && { code: 'EXCLUDED_RANGE', holder }
    }
    if (bindWay(facts, at.ip, at.port) === 'direct') return undefined
    const helper = options.helper?.()
    if (helper?.ready) return undefined
    return privilegeObstacle(facts, at, helper?.hint)
  }
  return { find, obstacle }
}

function isOwn(ip: string, facts: BindFacts, addresses: HostAddresses): boolean {
  if (ip === '0.0.0.0' || ip === '::') return true
  // Linux answers on all of 127/8; elsewhere only what is configured exists.
  if (facts.platform === 'linux' && !ip.includes(':') && addressScope(ip) === 'loopback')
    return true
  return addresses.list().includes(ip)
}

/** What to do about a port that needs privileges: the helper first, then what the system itself offers. */
function privilegeObstacle(
  facts: BindFacts,
  at: BoundAddress,
  helperHint: string | undefined,
): BindObstacle {
  const ways =
    facts.platform === 'linux'
      ? [
          `lower the limit for everyone (sysctl net.ipv4.ip_unprivileged_port_start=${at.port})`,
          'give a private copy of node the capability (setcap cap_net_bind_service=+ep; never the system’s node)',
        ]
      : ['publish on 0.0.0.0, which macOS leaves free but opens to the LAN (add an allow list)']
  const limit = facts.unprivilegedPortStart ?? 1024
  const hint = [
    // A helper that was there a moment ago has nothing to say about itself.
    helperHint || 'Publish a higher port, or install the privileged helper',
    ...ways,
  ].join(', or ')
  return {
    code: helperHint === undefined ? 'EACCES' : 'HELPER_MISSING',
    why: `permission denied: ports below ${limit} are for privileged processes here`,
    hint: `${hint}.`,
  }
}
