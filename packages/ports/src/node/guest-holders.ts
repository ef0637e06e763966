/**
 * Who holds a port in a guest: the guest's own `/proc`, fetched by one script that runs there by whatever means there are (an agent, ssh,
 * `docker exec`), and read as the host's is.
 */

import type { PortHolder } from '@netkit/core'
import type { BoundAddress } from '../bind-overlap.ts'
import type { HolderLookup } from '../holder-lookup.ts'
import { findLinuxHolder } from './linux-holders.ts'
import type { ProcFiles } from './linux-holders.ts'

/** Options of `guestHolders`. */
export interface GuestHoldersOptions {
  /** Runs a POSIX shell script in the guest and gives its standard output. May reject: then nobody is found. */
  run(script: string, signal: AbortSignal): Promise<string>
}

/** Files by their path, then where each socket descriptor leads. Other users' need root in the guest, as on the host. */
const LISTING = `
for file in /etc/passwd /proc/net/udp /proc/net/udp6 /proc/[0-9]*/comm; do
  [ -r "$file" ] && echo "== $file" && cat "$file" 2>/dev/null
done
# Of TCP's sockets those that listen (state 0A): a busy guest has ten thousands of others.
for file in /proc/net/tcp /proc/net/tcp6; do
  [ -r "$file" ] && echo "== $file" && grep -E '^ *(sl|[0-9]+: [0-9A-F]+:[0-9A-F]+ [0-9A-F]+:[0-9A-F]+ 0A) ' "$file"
done
echo "== links"
ls -l /proc/[0-9]*/fd 2>/dev/null | grep -E '^/proc/|socket:'
`

/** The listing, as the files it was made of. */
export function parseGuestListing(text: string): ProcFiles {
  const files = new Map<string, string>()
  const links = new Map<string, string[]>()
  const [contents = '', descriptors = ''] = text.split('== links\n')
  for (const section of contents.split(/^== /m).slice(1)) {
    const end = section.indexOf('\n')
    files.set(section.slice(0, end), section.slice(end + 1))
  }
  let ofProcess: string[] = []
  for (const line of descriptors.split('\n')) {
    const pid = /^\/proc\/(\d+)\/fd:$/.exec(line)?.[1]
    const target = /-> (socket:\[\d+\])$/.exec(line)?.[1]
    if (pid !== undefined) links.set(pid, (ofProcess = []))
    else if (target !== undefined) ofProcess.push(target)
  }
  return {
    readFile: (name) => Promise.resolve(files.get(name) ?? ''),
    readdir: (name) => {
      const pid = /^\/proc\/(\d+)\/fd$/.exec(name)?.[1]
      const names = pid === undefined ? links.keys() : (links.get(pid) ?? []).keys()
      return Promise.resolve(Array.from(names, String))
    },
    readlink: (name) => {
      const [, pid = '', place] = /^\/proc\/(\d+)\/fd\/(\d+)$/.exec(name) ?? []
      return Promise.resolve(links.get(pid)?.[Number(place)] ?? '')
    },
  }
}

/**
 * Finds who holds a port in a Linux guest, for a broker's `guestHolders`.
 *
 * @example
 * ```ts
 * import { execFile } from 'node:child_process'
 * import { promisify } from 'node:util'
 * import { guestHolders } from '@netkit/ports/node'
 *
 * // In earnest: ssh, an agent in the VM, `docker exec`. Here this very machine stands in for a guest.
 * const run = async (script) => (await promisify(execFile)('sh', ['-c', script])).stdout
 * const holders = guestHolders({ run })
 * const at = { protocol: 'tcp', ip: '0.0.0.0', port: 1 }
 * console.assert((await holders.find(at, AbortSignal.timeout(5000))) === undefined)
 * ```
 */
export function guestHolders(options: GuestHoldersOptions): HolderLookup {
  return {
    async find(at: BoundAddress, signal: AbortSignal): Promise<PortHolder | undefined> {
      const files = parseGuestListing(await options.run(LISTING, signal))
      return await findLinuxHolder(at, signal, { files, side: 'guest' })
    },
  }
}
