/** What an independent reader of packets, tshark, finds wrong in a capture. */

import { runCommand } from '@netkit/guests'

const VERIFY = ['ip.check_checksum', 'tcp.check_checksum', 'udp.check_checksum']

/** What must not be in a clean capture, by the name a report gives it. A checksum's status 0 is "bad". */
const FAULTS = {
  malformed: '_ws.malformed',
  'bad IPv4 checksum': 'ip.checksum.status == 0',
  // Linux may send 0xffff for 0: the same number in ones' complement.
  'bad TCP checksum': 'tcp.checksum.status == 0 && tcp.checksum != 0xffff',
  'bad UDP checksum': 'udp.checksum.status == 0',
  'bad ICMP checksum': 'icmp.checksum.status == 0',
  // A probe of a closed window repeats a byte on purpose; tshark tells it apart.
  retransmission: 'tcp.analysis.retransmission && !tcp.analysis.zero_window_probe',
} as const

const TSHARK_TIMEOUT_MS = 180_000

/** The faulty frames, one line each: "FAULT: frame number, addresses, tshark's words". Empty when all is well. */
export async function captureFaults(path: string): Promise<string[]> {
  const any = Object.values(FAULTS)
    .map((filter) => `(${filter})`)
    .join(' || ')
  const fields = ['frame.number', '_ws.col.Source', '_ws.col.Destination', '_ws.col.Info']
  const args = ['-r', path, '-Y', any, '-T', 'fields']
    .concat(fields.flatMap((field) => ['-e', field]))
    .concat(VERIFY.flatMap((preference) => ['-o', `${preference}:TRUE`]))
  const { code, stdout, stderr } = await runCommand('tshark', args, {
    timeoutMs: TSHARK_TIMEOUT_MS,
  })
  if (code !== 0) throw new Error(`tshark could not read ${path}: ${stderr.trim()}`)
  return stdout.toString().split('\n').filter(Boolean)
}

/** Frames in the capture. */
export async function captureFrames(path: string): Promise<number> {
  const args = ['-T', '-r', '-M', '-c', path]
  const { code, stdout, stderr } = await runCommand('capinfos', args, {
    timeoutMs: TSHARK_TIMEOUT_MS,
  })
  if (code !== 0) throw new Error(`capinfos could not read ${path}: ${stderr.trim()}`)
  return Number(stdout.toString().trim().split('\t').at(-1))
}
