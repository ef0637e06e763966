/**
 * Which ports this process may bind itself, and which need the privileged helper.
 *
 * | system | below 1024 |
 * |---|---|
 * | Linux | ports from `net.ipv4.ip_unprivileged_port_start` on are free (ip-sysctl; it also rules IPv6); below it CAP_NET_BIND_SERVICE |
 * | macOS ≥ 10.14 (Darwin 18) | the wildcards `0.0.0.0` and `::` are free, specific addresses need root |
 * | macOS < 10.14 | root |
 * | Windows | free |
 */

/** What the decision rests on. */
export interface BindFacts {
  readonly platform: 'linux' | 'darwin' | 'win32'
  /** `os.release()`. */
  readonly release: string
  /** The process is root or has CAP_NET_BIND_SERVICE. */
  readonly privileged: boolean
  /** Linux: `net.ipv4.ip_unprivileged_port_start`; default 1024. */
  readonly unprivilegedPortStart?: number
}

/** Whether `ip` and `port` can be bound directly, or only by the helper. */
export function bindWay(facts: BindFacts, ip: string, port: number): 'direct' | 'helper' {
  const { platform, privileged, release, unprivilegedPortStart = 1024 } = facts
  if (privileged || port === 0 || platform === 'win32') return 'direct'
  if (platform === 'linux') return port >= unprivilegedPortStart ? 'direct' : 'helper'
  if (port >= 1024) return 'direct'
  const wildcard = ip === '0.0.0.0' || ip === '::'
  return wildcard && Number.parseInt(release, 10) >= 18 ? 'direct' : 'helper'
}
