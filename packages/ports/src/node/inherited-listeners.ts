/**
 * Descriptors that were bound before this process began: by `netkit-portd launch`, which says in NETKIT_LISTEN_FDS what they are, or by
 * a systemd socket unit (sd_listen_fds(3)), where the kernel is asked.
 */

import { readFileSync, readlinkSync } from 'node:fs'
import { normalizeIp } from '@netkit/core'
import type { BoundAddress } from '../bind-overlap.ts'
import { parseProcNet } from './linux-holders.ts'

/** A bound descriptor. */
export interface InheritedListener extends BoundAddress {
  readonly fd: number
}

/** What is read. */
export interface InheritanceFiles {
  readFile(path: string): string
  readlink(path: string): string
}

const hostFiles: InheritanceFiles = {
  readFile: (path) => readFileSync(path, 'utf8'),
  readlink: (path) => readlinkSync(path),
}

/** sd_listen_fds(3): the descriptors follow each other from here on. */
const FIRST_FD = 3

/** The descriptors that `env` announces to the process `pid`. */
export function inheritedListeners(
  env: NodeJS.ProcessEnv = process.env,
  pid: number = process.pid,
  files: InheritanceFiles = hostFiles,
): InheritedListener[] {
  const count = Number(env['LISTEN_FDS'] ?? 0)
  // The variables are inherited by children, the descriptors are not meant for them.
  if (Number(env['LISTEN_PID']) !== pid || !Number.isInteger(count) || count < 1) return []
  const fds = Array.from({ length: count }, (_, i) => FIRST_FD + i)
  const names = env['NETKIT_LISTEN_FDS']?.split(',')
  const found = fds.map((fd, i) =>
    names === undefined ? byKernel(fd, files) : byName(fd, names[i]),
  )
  return found.filter((listener) => listener !== undefined)
}

/** `tcp/127.0.0.1/80` */
function byName(fd: number, name = ''): InheritedListener | undefined {
  const [protocol, ip = '', port] = name.split('/')
  if (protocol !== 'tcp' && protocol !== 'udp') return undefined
  return { fd, protocol, ip: normalizeIp(ip), port: Number(port) }
}

function byKernel(fd: number, files: InheritanceFiles): InheritedListener | undefined {
  const inode = /^socket:\[(\d+)\]$/.exec(attempt(() => files.readlink(`/proc/self/fd/${fd}`)))?.[1]
  for (const protocol of ['tcp', 'udp'] as const) {
    for (const name of [protocol, `${protocol}6`]) {
      const table = parseProcNet(
        attempt(() => files.readFile(`/proc/net/${name}`)),
        protocol,
      )
      const socket = table.find((entry) => entry.inode === inode)
      if (socket !== undefined) return { fd, protocol, ip: socket.ip, port: socket.port }
    }
  }
  return undefined
}

function attempt(read: () => string): string {
  try {
    return read()
  } catch {
    return ''
  }
}
