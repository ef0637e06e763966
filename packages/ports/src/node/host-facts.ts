/** What the host lets this process do: addresses, privileges, descriptors, ephemeral ports. */

import { readFileSync } from 'node:fs'
import { networkInterfaces, release } from 'node:os'
import { normalizeIp } from '@netkit/core'
import type { PortPlatform } from '../bind-overlap.ts'
import type { HostAddresses } from '../udp-faces.ts'
import type { BindFacts } from './bind-way.ts'

/** The platform whose rules hold; other systems are treated as Linux. */
export function hostPlatform(): PortPlatform {
  return process.platform === 'darwin' || process.platform === 'win32' ? process.platform : 'linux'
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** The addresses of the host's interfaces that can be bound without a zone. */
export function hostAddresses(): HostAddresses {
  return {
    list() {
      const ips = Object.values(networkInterfaces())
        .flatMap((addresses) => addresses ?? [])
        .filter(({ scopeid }) => scopeid === undefined || scopeid === 0)
        .map(({ address }) => normalizeIp(address))
      return [...new Set(ips)]
    },
  }
}

/** CAP_NET_BIND_SERVICE, capabilities(7). */
const NET_BIND_SERVICE = 10n

/** Whether the effective capabilities in `/proc/self/status` let a process bind any port. */
export function canBindAnyPort(status: string): boolean {
  const effective = /^CapEff:\s*([\da-f]+)$/m.exec(status)?.[1]
  return effective !== undefined && ((BigInt(`0x${effective}`) >> NET_BIND_SERVICE) & 1n) === 1n
}

/** What `bindWay` needs to know of this process. */
export function bindFacts(): BindFacts {
  const platform = hostPlatform()
  const root = process.geteuid?.() === 0
  const facts = { platform, release: release() }
  if (platform !== 'linux') return { ...facts, privileged: root }
  const start = Number.parseInt(read('/proc/sys/net/ipv4/ip_unprivileged_port_start'), 10)
  const status = read('/proc/self/status')
  return {
    ...facts,
    // Root in a container may lack the capability.
    privileged: status === '' ? root : canBindAnyPort(status),
    ...(Number.isInteger(start) && { unprivilegedPortStart: start }),
  }
}

/** Descriptors that are left to the process for everything but forwarded connections. */
const DESCRIPTORS_KEPT = 128

/**
 * How many flows the process's descriptor limit allows. Node raises the soft limit to the hard one at its start.
 *
 * @param perFlow - Descriptors of one flow: 1 into a guest behind a gateway, 2 where the target is a host socket.
 */
export function maxFlowsByDescriptors(
  perFlow: 1 | 2 = 2,
  limit: number = descriptorLimit(),
): number {
  return Math.max(1, Math.floor((limit - DESCRIPTORS_KEPT) / perFlow))
}

/** RLIMIT_NOFILE; without one (Windows) a number that memory reaches first. */
export function descriptorLimit(): number {
  const line = /^Max open files\s+(\S+)/m.exec(read('/proc/self/limits'))?.[1]
  const known = line ?? reportedLimit()
  return known === undefined || known === 'unlimited' ? 65_536 : Number(known)
}

function reportedLimit(): string | undefined {
  if (process.platform === 'win32') return undefined
  const report = process.report.getReport() as {
    userLimits?: { open_files?: { soft?: number | string } }
  }
  const soft = report.userLimits?.open_files?.soft
  return soft === undefined ? undefined : String(soft)
}

/**
 * A range for ephemeral published ports that the host's own clients never use, so that a free number stays free: the larger gap
 * beside `net.ipv4.ip_local_port_range`, or 49152-65535 where that is unknown.
 */
export function ephemeralPool(range: string = read('/proc/sys/net/ipv4/ip_local_port_range')): {
  first: number
  last: number
} {
  const [low = 0, high = 0] = range.trim().split(/\s+/).map(Number)
  if (!(low > 0 && high >= low)) return { first: 49_152, last: 65_535 }
  // Below 10,000 live the services that people publish by number.
  const below = { first: 10_000, last: low - 1 }
  const above = { first: high + 1, last: 65_535 }
  const larger = below.last - below.first >= above.last - above.first ? below : above
  return larger.last - larger.first >= 1000 ? larger : { first: 49_152, last: 65_535 }
}
