/**
 * What passes a lab network's links, in two files: the headers of every frame, for the order of segments, and whole frames, for
 * checksums. tshark takes a minute for 64 MB of whole frames and seconds for their headers.
 */

import { closeSync, openSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { captured, pcapFile, type FrameLink, type PacketCapture } from '@netkit/frames'

/** Ethernet, IPv6 and the longest TCP header there is, with room. */
const HEADER_BYTES = 160

/** Whole frames: every one that is as short as this (ARP, DHCP, DNS, SYN, FIN, RST, ACK), `bytes`. */
const SHORT_FRAME_BYTES = 600

/** And of the longer ones the first of this many `bytes`. */
const LONG_FRAME_BYTES = 4 << 20

/** Paths of an ended capture. */
export interface CaptureFiles {
  /** The first bytes of every frame. */
  readonly headers: string
  /** All bytes of every short frame and of the first long ones. */
  readonly whole: string
}

/** A capture of a network's links. */
export interface LabCapture {
  /** The same link, recorded. */
  link(link: FrameLink, name: string): FrameLink
  /** Ends the capture; both files are complete. */
  end(): CaptureFiles
  /** Ends it and removes the files, unless `KEEP_CAPTURES` is set. */
  close(): Promise<void>
}

/** Short frames, and long ones until there are enough. */
function bounded(capture: PacketCapture): PacketCapture {
  let left = LONG_FRAME_BYTES
  return {
    addInterface: (name) => capture.addInterface(name),
    record(id, direction, block, offset, length, comment) {
      if (length > SHORT_FRAME_BYTES && (left -= length) < 0) return
      capture.record(id, direction, block, offset, length, comment)
    },
  }
}

/** Begins a capture. */
export async function labCapture(): Promise<LabCapture> {
  const folder = await mkdtemp(join(tmpdir(), 'netkit-lab-'))
  const files = { headers: join(folder, 'headers.pcapng'), whole: join(folder, 'whole.pcapng') }
  const descriptors = [files.headers, files.whole].map((path) => openSync(path, 'wx', 0o600))
  const [headers, whole] = descriptors.map((file, at) =>
    // Written at once: a capture with holes would show losses that never were.
    pcapFile(
      { write: (bytes) => void writeSync(file, bytes) },
      at === 0 ? { snapLength: HEADER_BYTES } : {},
    ),
  )
  if (!headers || !whole) throw new Error('Two files make two captures.')
  let ended = false
  const end = (): CaptureFiles => {
    if (!ended) {
      ended = true
      headers.close()
      whole.close()
      descriptors.forEach((file) => closeSync(file))
    }
    return files
  }
  const wholeFrames = bounded(whole)
  return {
    link: (link, name) => captured(captured(link, headers, { name }), wholeFrames, { name }),
    end,
    async close() {
      end()
      if (process.env['KEEP_CAPTURES'] === undefined)
        await rm(folder, { recursive: true, force: true })
    },
  }
}
