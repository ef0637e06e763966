/**
 * Which two bound addresses get in each other's way, per operating system.
 *
 * Both sockets carry one port number and one protocol, and IPv6 sockets are `IPV6_V6ONLY` (ours always are), so the families
 * never meet. What is left is the wildcard against a specific address:
 *
 * - **Linux** refuses both orders, for TCP listeners (SO_REUSEADDR notwithstanding) and for UDP; see tcp(7) and the kernel's
 *   `inet_csk_bind_conflict`. The table is checked against the running kernel in the tests.
 * - **macOS** lets a TCP listener on a specific address stand beside one on the wildcard, because libuv sets SO_REUSEADDR and BSD
 *   then compares exact addresses only (xnu, `in_pcbbind`: `wild` is 0). UDP sockets are bound without it: refused.
 * - **Windows**: without socket options, both orders succeed for one and the same user ("Using SO_REUSEADDR and
 *   SO_EXCLUSIVEADDRUSE", learn.microsoft.com, first two rows).
 */

/** The operating systems with rules of their own. */
export type PortPlatform = 'linux' | 'darwin' | 'win32'

/** A bound address. */
export interface BoundAddress {
  readonly protocol: 'tcp' | 'udp'
  /** Canonical text. */
  readonly ip: string
  readonly port: number
}

/** Whether a wildcard and a specific address of one family exclude each other. */
const wildcardExcludesSpecific: Record<PortPlatform, Record<'tcp' | 'udp', boolean>> = {
  linux: { tcp: true, udp: true },
  darwin: { tcp: false, udp: true },
  win32: { tcp: false, udp: false },
}

const isWildcard = (ip: string): boolean => ip === '0.0.0.0' || ip === '::'

/**
 * Whether `asked` cannot be bound while `held` is.
 *
 * @example
 * ```ts
 * import { bindsOverlap } from '@netkit/ports'
 *
 * const held = { protocol: 'tcp', ip: '0.0.0.0', port: 80 } as const
 * console.assert(bindsOverlap('linux', held, { ...held, ip: '127.0.0.1' }))
 * console.assert(!bindsOverlap('darwin', held, { ...held, ip: '127.0.0.1' }))
 * console.assert(!bindsOverlap('linux', held, { ...held, ip: '::' }))
 * ```
 */
export function bindsOverlap(
  platform: PortPlatform,
  held: BoundAddress,
  asked: BoundAddress,
): boolean {
  if (held.protocol !== asked.protocol || held.port !== asked.port) return false
  if (held.ip === asked.ip) return true
  if (held.ip.includes(':') !== asked.ip.includes(':')) return false
  if (!isWildcard(held.ip) && !isWildcard(asked.ip)) return false
  return wildcardExcludesSpecific[platform][asked.protocol]
}
