/** What a guest's kernel counted: /proc/net/snmp and /proc/net/netstat, which `nstat` reads too. */

import type { LinuxGuest } from '@netkit/guests'

/** Counters by "Group.Name", such as `Tcp.RetransSegs`. */
export type KernelCounters = ReadonlyMap<string, number>

/** Reads all of them. Each group is two lines: names, values. */
export async function kernelCounters(guest: LinuxGuest): Promise<KernelCounters> {
  const { stdout } = await guest.exec('cat /proc/net/snmp /proc/net/netstat')
  const counters = new Map<string, number>()
  const lines = stdout.split('\n').filter(Boolean)
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const [group = '', ...names] = (lines[i] ?? '').split(' ')
    const values = (lines[i + 1] ?? '').split(' ').slice(1)
    names.forEach((name, at) =>
      counters.set(`${group}${name}`.replace(':', '.'), Number(values[at])),
    )
  }
  return counters
}

/**
 * Without tail loss probes (RFC 8985), which send a segment again whenever an acknowledgement takes two round trips: on a link with
 * a round trip of microseconds, that is whenever the process at its other end is not scheduled at once.
 */
export async function withoutLossProbes(guest: LinuxGuest): Promise<void> {
  const { code, stdout } = await guest.exec('echo 0 >/proc/sys/net/ipv4/tcp_early_retrans')
  if (code !== 0) throw new Error(`The guest kept its tail loss probes: ${stdout}`)
}

/** A kernel found that a segment was lost, and began to repair it: never on a link that loses nothing, however slow its other end. */
export const RECOVERY_COUNTERS: readonly string[] = [
  'TcpExt.TCPFastRetrans',
  'TcpExt.TCPSackRecovery',
  'TcpExt.TCPRenoRecovery',
  'TcpExt.TCPLostRetransmit',
  'TcpExt.TCPSackReneging',
]

/**
 * Counters that stay where they are on a link that neither loses nor changes anything. `Tcp.RetransSegs` is not among them: a
 * kernel whose peer stands still for 200 ms sends again what has arrived.
 */
export const CLEAN_LINK_COUNTERS: readonly string[] = [
  'Ip.InHdrErrors',
  'Ip.ReasmReqds',
  'IpExt.InCsumErrors',
  'Icmp.InErrors',
  'Icmp.InCsumErrors',
  'Tcp.InErrs',
  'Tcp.InCsumErrors',
  'TcpExt.TCPOFOQueue',
  'Udp.InErrors',
  'Udp.InCsumErrors',
]
