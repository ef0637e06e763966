/** What an independent reader of packets, tshark, finds in a capture. */

import { runCommand } from '@netkit/guests'

const TSHARK_TIMEOUT_MS = 180_000

const COLUMNS = ['frame.number', '_ws.col.Source', '_ws.col.Destination', '_ws.col.Info'] as const

/** A number that the OS chose may be the port of some protocol, which tshark would then look for in the bytes of an echo. */
const PLAIN_PAYLOAD = ['tcp', 'udp'].flatMap((over) => ['-d', `${over}.port==32768-60999,data`])

/** One line per frame that the filter finds, with tab-separated fields. */
async function find(
  path: string,
  filter: string,
  fields: readonly string[],
  preferences: readonly string[],
): Promise<string[]> {
  const args = ['-n', '-r', path, '-Y', filter, '-T', 'fields', ...PLAIN_PAYLOAD]
    .concat(fields.flatMap((field) => ['-e', field]))
    .concat(preferences.flatMap((preference) => ['-o', preference]))
  const { code, stdout, stderr } = await runCommand('tshark', args, {
    timeoutMs: TSHARK_TIMEOUT_MS,
  })
  if (code !== 0) throw new Error(`tshark could not read ${path}: ${stderr.trim()}`)
  return stdout.toString().split('\n').filter(Boolean)
}

/** Faults of single frames. A checksum's status 0 is "bad". */
const FRAME_FAULTS = [
  '_ws.malformed',
  'ip.checksum.status == 0',
  // Linux may send 0xffff for 0: the same number in ones' complement.
  '(tcp.checksum.status == 0 && tcp.checksum != 0xffff)',
  'udp.checksum.status == 0',
  'icmp.checksum.status == 0',
  'icmpv6.checksum.status == 0',
].join(' || ')

/** Malformed frames and bad checksums in a capture of whole frames: number, addresses, tshark's words. Empty when all is well. */
export function frameFaults(path: string): Promise<string[]> {
  return find(path, FRAME_FAULTS, COLUMNS, [
    'ip.check_checksum:TRUE',
    'tcp.check_checksum:TRUE',
    'udp.check_checksum:TRUE',
    'tcp.analyze_sequence_numbers:FALSE',
    'tcp.desegment_tcp_streams:FALSE',
  ])
}

/** Sequence numbers that passed for the first time, or an acknowledgement of some that never did. */
const MISSING = 'tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment'

/** Sequence numbers that had passed before. A probe of a closed window and a keep-alive repeat a byte on purpose. */
const AGAIN =
  '(tcp.analysis.retransmission || tcp.analysis.out_of_order) && !tcp.analysis.zero_window_probe && !tcp.analysis.keep_alive'

/** What a capture tells of the order in which TCP segments passed; the headers of the frames are enough. */
export interface SegmentOrder {
  /** Frames after a hole, and acknowledgements of what never passed: number, addresses, tshark's words. */
  readonly holes: readonly string[]
  /** Segments whose bytes had passed before, by the Ethernet address of their sender. */
  readonly again: ReadonlyMap<string, number>
}

/**
 * Follows the sequence numbers of all flows.
 *
 * A segment that a sender repeats is no loss in itself: a sender whose peer's process, or whose own CPU, stands still for longer
 * than its retransmission timeout sends again what has long arrived. Lost is what its receiver never saw: a hole in the capture, or
 * a segment that its sender repeated and that passed but once.
 */
export async function segmentOrder(path: string): Promise<SegmentOrder> {
  const holes: string[] = []
  const again = new Map<string, number>()
  const flags = ['eth.src', 'tcp.analysis.lost_segment', 'tcp.analysis.ack_lost_segment']
  const preferences = ['tcp.desegment_tcp_streams:FALSE']
  const filter = `${MISSING} || (${AGAIN})`
  for (const line of await find(path, filter, [...flags, ...COLUMNS], preferences)) {
    const [sender = '', lost, acknowledgedLost, ...columns] = line.split('\t')
    if (lost || acknowledgedLost) holes.push(columns.join('\t'))
    else again.set(sender, (again.get(sender) ?? 0) + 1)
  }
  return { holes, again }
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
