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

/** Counters that stay where they are on a link that neither loses nor changes anything. */
export const CLEAN_LINK_COUNTERS: readonly string[] = [
  'Ip.InHdrErrors',
  'Ip.ReasmReqds',
  'IpExt.InCsumErrors',
  'Icmp.InErrors',
  'Icmp.InCsumErrors',
  'Tcp.InErrs',
  'Tcp.InCsumErrors',
  'Tcp.RetransSegs',
  'TcpExt.TCPTimeouts',
  'TcpExt.TCPOFOQueue',
  'Udp.InErrors',
  'Udp.InCsumErrors',
]
