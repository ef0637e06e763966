/** Who holds a port, on macOS: `lsof -F`, whose output is one field per line (lsof(8), "OUTPUT FOR OTHER PROGRAMS"). */

import type { PortHolder } from '@netkit/core'
import type { HostCommands } from '@netkit/core/node'
import type { BoundAddress } from '../bind-overlap.ts'

/** One process in the output of `lsof -FpcLn`. */
export interface LsofEntry {
  readonly pid: number
  readonly command?: string
  readonly user?: string
  /** The addresses of its sockets, as lsof prints them: `*:8080`, `127.0.0.1:8080`, `[::1]:8080`. */
  readonly names: readonly string[]
}

/** Reads what `lsof -FpcLn` prints. */
export function parseLsof(text: string): LsofEntry[] {
  const entries: { pid: number; command?: string; user?: string; names: string[] }[] = []
  for (const line of text.split('\n')) {
    const value = line.slice(1)
    const entry = entries.at(-1)
    if (line.startsWith('p')) entries.push({ pid: Number(value), names: [] })
    else if (entry === undefined) continue
    else if (line.startsWith('c')) entry.command = value
    else if (line.startsWith('L')) entry.user = value
    else if (line.startsWith('n')) entry.names.push(value)
  }
  return entries
}

/** Finds who holds `at` on macOS. */
export async function findDarwinHolder(
  at: BoundAddress,
  signal: AbortSignal,
  commands: HostCommands,
): Promise<PortHolder | undefined> {
  const selection =
    at.protocol === 'tcp' ? [`-iTCP:${at.port}`, '-sTCP:LISTEN'] : [`-iUDP:${at.port}`]
  const args = ['-nP', ...selection, '-FpcLn']
  // A status of 1 says that nothing was found.
  const { stdout } = await commands.run('/usr/sbin/lsof', args, { signal })
  const entries = parseLsof(stdout)
  const exact = at.ip.includes(':') ? `[${at.ip}]:${at.port}` : `${at.ip}:${at.port}`
  const inTheWay = entries.filter(({ names }) =>
    names.some((name) => name === exact || name === `*:${at.port}` || isWildcard(at.ip)),
  )
  const entry = inTheWay.find(({ names }) => names.includes(exact)) ?? inTheWay[0]
  if (entry === undefined) return undefined
  const { pid, command, user } = entry
  return {
    kind: 'process',
    side: 'host',
    pid,
    ...(command !== undefined && { command }),
    ...(user !== undefined && { user }),
  }
}

const isWildcard = (ip: string): boolean => ip === '0.0.0.0' || ip === '::'
