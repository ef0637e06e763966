/** A capture that grows in a file of the host. */

import { open } from 'node:fs/promises'
import { pcapFile } from '@netkit/frames'
import type { CaptureOptions, PcapFile } from '@netkit/frames'

/** A capture file; disposing of it writes what is left and closes it. Idempotent. */
export interface OpenCaptureFile extends AsyncDisposable {
  readonly capture: PcapFile
}

/**
 * Opens a pcapng file for frames, readable by its owner alone: it holds whatever the guest said. A file that exists is replaced.
 *
 * @throws the file system's error (`EACCES`, `ENOENT`, …) when it cannot be opened.
 */
export async function openCaptureFile(
  path: string,
  options: CaptureOptions = {},
): Promise<OpenCaptureFile> {
  const handle = await open(path, 'w', 0o600)
  // 'w' keeps the mode of a file that exists.
  await handle.chmod(0o600)
  const stream = handle.createWriteStream()
  // A full disk must not end the network: the capture ends, and its statistics say so.
  let failed = false
  stream.on('error', () => (failed = true))
  const capture = pcapFile(
    {
      write: (bytes) => void (failed || stream.write(bytes)),
      get queued() {
        return failed ? Infinity : stream.writableLength
      },
    },
    options,
  )
  const closed = new Promise<void>((resolve) => stream.once('close', resolve))
  return {
    capture,
    [Symbol.asyncDispose]() {
      capture.close()
      stream.end()
      return closed
    },
  }
}
