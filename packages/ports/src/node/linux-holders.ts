/**
 * Who holds a port, on Linux: `/proc/net/{tcp,udp}{,6}` name the socket's inode and user, `/proc/<pid>/fd` who has it open (proc(5)).
 * Other users' descriptors need root; then the user's name is what can be said.
 */

import { readdir, readFile, readlink } from 'node:fs/promises'
import { formatIpv4, formatIpv6 } from '@netkit/core'
import type { PortHolder } from '@netkit/core'
import type { BoundAddress } from '../bind-overlap.ts'

/** The files that are read; a guest's `/proc`, reached by whatever means, is another implementation. */
export interface ProcFiles {
  readFile(path: string): Promise<string>
  readdir(path: string): Promise<readonly string[]>
  readlink(path: string): Promise<string>
}

/** The host's own files. */
export const hostProcFiles: ProcFiles = {
  readFile: (path) => readFile(path, 'utf8'),
  readdir: (path) => readdir(path),
  readlink: (path) => readlink(path),
}

/** One socket of `/proc/net`. */
export interface ProcSocket {
  readonly ip: string
  readonly port: number
  readonly uid: number
  readonly inode: string
}

// enum in the kernel's include/net/tcp_states.h: TCP_LISTEN, and TCP_CLOSE for an unconnected UDP socket.
const LISTEN = '0A'
const UNCONNECTED = '07'

/** Reads the text of `/proc/net/tcp`, `tcp6`, `udp` or `udp6`: the sockets that wait for clients. */
export function parseProcNet(text: string, protocol: 'tcp' | 'udp'): ProcSocket[] {
  const sockets: ProcSocket[] = []
  for (const line of text.split('\n').slice(1)) {
    const [, local = '', , state, , , , uid = '', , inode = ''] = line.trim().split(/\s+/)
    if (state !== (protocol === 'tcp' ? LISTEN : UNCONNECTED)) continue
    const [address = '', port = ''] = local.split(':')
    const ip = procAddress(address)
    if (ip !== undefined)
      sockets.push({ ip, port: Number.parseInt(port, 16), uid: Number(uid), inode })
  }
  return sockets
}

/** The kernel prints each 32-bit word in host order; every machine that runs Node is little-endian. */
function procAddress(hex: string): string | undefined {
  if (!/^(?:[\dA-F]{8}){1,4}$/i.test(hex)) return undefined
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))
  for (let i = 0; i < bytes.length; i += 4) bytes.subarray(i, i + 4).reverse()
  if (bytes.length === 16) return formatIpv6(bytes)
  return bytes.length === 4 ? formatIpv4(new DataView(bytes.buffer).getUint32(0)) : undefined
}

/** Options of `findLinuxHolder`. */
export interface LinuxHolderOptions {
  readonly files?: ProcFiles
  /** Default `/proc`. */
  readonly proc?: string
  /** Default `/etc/passwd`. */
  readonly passwd?: string
  readonly side?: 'host' | 'guest'
}

/** Whether a socket on `held` keeps one from being bound on `asked`. An IPv6 wildcard may be dual-stack: it counts for IPv4 too. */
function inTheWay(held: string, asked: string): boolean {
  if (held === asked || held === '::' || asked === '::') return true
  if (held.startsWith('::ffff:')) return inTheWay(held.slice(7), asked)
  if (held.includes(':') !== asked.includes(':')) return false
  return held === '0.0.0.0' || asked === '0.0.0.0'
}

/** Finds who holds `at` in a Linux system. */
export async function findLinuxHolder(
  at: BoundAddress,
  signal: AbortSignal,
  options: LinuxHolderOptions = {},
): Promise<PortHolder | undefined> {
  const { files = hostProcFiles, proc = '/proc', passwd = '/etc/passwd', side = 'host' } = options
  const tables = await Promise.all(
    [at.protocol, `${at.protocol}6`].map((name) =>
      files.readFile(`${proc}/net/${name}`).catch(() => ''),
    ),
  )
  const matching = tables
    .flatMap((table) => parseProcNet(table, at.protocol))
    .filter(({ ip, port }) => port === at.port && inTheWay(ip, at.ip))
  // The most exact one first: it is what the kernel stumbled over.
  const socket = matching.find(({ ip }) => ip === at.ip) ?? matching[0]
  if (socket === undefined) return undefined
  const [pid, user] = await Promise.all([
    findPid(socket.inode, proc, files, signal),
    userName(socket.uid, passwd, files),
  ])
  if (pid === undefined) return { kind: 'process', side, user }
  const command = await files.readFile(`${proc}/${pid}/comm`).catch(() => '')
  return {
    kind: 'process',
    side,
    pid,
    ...(command !== '' && { command: command.trimEnd() }),
    user,
  }
}

async function findPid(
  inode: string,
  proc: string,
  files: ProcFiles,
  signal: AbortSignal,
): Promise<number | undefined> {
  const target = `socket:[${inode}]`
  const pids = (await files.readdir(proc).catch(() => [])).filter((name) => /^\d+$/.test(name))
  const holds = async (pid: string): Promise<boolean> => {
    if (signal.aborted) return false
    const descriptors = await files.readdir(`${proc}/${pid}/fd`).catch(() => [])
    const links = await Promise.all(
      descriptors.map((fd) => files.readlink(`${proc}/${pid}/fd/${fd}`).catch(() => '')),
    )
    return links.includes(target)
  }
  const answers = await Promise.all(
    pids.map(async (pid) => ((await holds(pid)) ? Number(pid) : undefined)),
  )
  return answers.find((pid) => pid !== undefined)
}

async function userName(uid: number, passwd: string, files: ProcFiles): Promise<string> {
  const lines = (await files.readFile(passwd).catch(() => '')).split('\n')
  const entry = lines.map((line) => line.split(':')).find(([, , id]) => id === String(uid))
  return entry?.[0] ?? `uid ${uid}`
}
