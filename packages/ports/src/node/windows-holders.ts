/**
 * Who holds a port, on Windows: `netstat -ano` and `tasklist`, which answer in some 50 ms each. Get-NetTCPConnection says the same,
 * but PowerShell needs longer to start than a conflict may take to be told (300 ms).
 *
 * Headings and states are in the user's language, so only numbers are read: a listener is a socket whose peer is `0.0.0.0:0` or
 * `[::]:0`, a datagram port has the peer `*:*`.
 */

import type { PortHolder } from '@netkit/core'
import type { HostCommands } from '@netkit/core/node'
import type { BoundAddress } from '../bind-overlap.ts'

/** One socket of `netstat -ano` that waits for clients. */
export interface NetstatSocket {
  readonly ip: string
  readonly port: number
  readonly pid: number
}

/** Reads what `netstat -ano` prints. */
export function parseNetstat(text: string, protocol: 'tcp' | 'udp'): NetstatSocket[] {
  const sockets: NetstatSocket[] = []
  for (const line of text.split(/\r?\n/)) {
    const fields = line.trim().split(/\s+/)
    const [name = '', local = '', peer = ''] = fields
    if (name.toLowerCase() !== protocol) continue
    if (protocol === 'tcp' ? peer !== '0.0.0.0:0' && peer !== '[::]:0' : peer !== '*:*') continue
    const colon = local.lastIndexOf(':')
    const ip = local
      .slice(0, colon)
      .replace(/^\[/, '')
      .replace(/(?:%\d+)?\]$/, '')
    sockets.push({ ip, port: Number(local.slice(colon + 1)), pid: Number(fields.at(-1)) })
  }
  return sockets
}

/** Reads what `tasklist /FO CSV /NH` prints: the image's name. */
export function parseTasklist(text: string): string | undefined {
  return /^"([^"]+)","\d+"/m.exec(text)?.[1]
}

/** Reads what `netsh interface ipv4 show excludedportrange` prints; `*` marks ranges an administrator made. */
export function parseExcludedRanges(text: string): { first: number; last: number }[] {
  return [...text.matchAll(/^\s*(\d+)\s+(\d+)\s*\*?\s*$/gm)].map(([, first, last]) => ({
    first: Number(first),
    last: Number(last),
  }))
}

/** Finds who holds `at` on Windows. */
export async function findWindowsHolder(
  at: BoundAddress,
  signal: AbortSignal,
  commands: HostCommands,
): Promise<PortHolder | undefined> {
  const table = parseNetstat(
    (await commands.run('netstat', ['-ano'], { signal })).stdout,
    at.protocol,
  )
  const onPort = table.filter(({ port }) => port === at.port)
  const socket =
    onPort.find(({ ip }) => ip === at.ip) ??
    onPort.find(({ ip }) => isWildcard(ip) || isWildcard(at.ip))
  if (socket === undefined) return undefined
  const { pid } = socket
  // The kernel's own web server, for IIS, WinRM, WSUS: `netsh http show servicestate` lists its users.
  if (pid === 4) return { kind: 'process', side: 'host', pid, command: 'HTTP.sys (System)' }
  const args = ['/FI', `PID eq ${pid}`, '/FO', 'CSV', '/NH']
  const list = await commands.run('tasklist', args, { signal }).catch(() => undefined)
  const command = parseTasklist(list?.stdout ?? '')
  return { kind: 'process', side: 'host', pid, ...(command !== undefined && { command }) }
}

const isWildcard = (ip: string): boolean => ip === '0.0.0.0' || ip === '::'

/** The range that Windows keeps `at` for itself with, if it does. */
export async function findExcludedRange(
  at: BoundAddress,
  signal: AbortSignal,
  commands: HostCommands,
): Promise<PortHolder | undefined> {
  const family = at.ip.includes(':') ? 'ipv6' : 'ipv4'
  const args = ['interface', family, 'show', 'excludedportrange', `protocol=${at.protocol}`]
  const ranges = parseExcludedRanges((await commands.run('netsh', args, { signal })).stdout)
  const range = ranges.find(({ first, last }) => first <= at.port && at.port <= last)
  return range && { kind: 'excluded-range', ...range }
}
