/** One stack between its two hosts, from start to removal. */

import type { ChildProcess } from 'node:child_process'
import { addNamespace, cleanUp, run, start, until, untilFile } from './namespaces.ts'
import type { Stack } from './stacks.ts'

/** What a run needs. */
export interface RigOptions {
  readonly mtu: number
  /** Where sockets and logs go. */
  readonly folder: string
  /** The programs compiled from tap-pump.c and load.c. */
  readonly pump: string
  readonly load: string
}

/** A stack that carries frames. */
export interface Rig {
  readonly guestNamespace: string
  readonly hostNamespace: string
  /** Where the guest finds the host's servers. */
  readonly host: string
  readonly process: ChildProcess
  readonly log: string
}

function tapIsUp(namespace: string): boolean {
  try {
    return run(namespace, 'ip', 'link', 'show', 'tap0').includes('UP')
  } catch {
    return false
  }
}

/** Brings the stack up, runs `use`, removes everything. */
export async function withStack<T>(
  stack: Stack,
  options: RigOptions,
  use: (rig: Rig) => Promise<T>,
): Promise<T> {
  const { mtu, folder, pump } = options
  const guest = `nkb${process.pid}g`
  const host = `nkb${process.pid}h`
  const log = `${folder}/${stack.name}-${mtu}.log`
  const socket = `${folder}/a-${stack.name}-${mtu}-${Date.now()}.sock`
  const peerSocket = `${socket}.peer`
  const pumpArgs = [guest, 'tap0', String(mtu)]
  try {
    addNamespace(host, { uplink: true })
    addNamespace(guest, { uplink: false })
    const [program = '', ...args] = stack.command({
      mtu,
      socket,
      peerSocket,
      guestNamespace: guest,
    })
    if (stack.side === 'connects') start(undefined, log, {}, pump, ...pumpArgs, 'listen', socket)
    if (stack.relay)
      start(undefined, log, {}, pump, host, 'tap0', String(mtu), 'listen', peerSocket)
    if (stack.side === 'connects') await untilFile(socket)
    if (stack.relay) await untilFile(peerSocket)
    const competitor = start(host, log, {}, program, ...args)
    if (stack.side === 'listens') {
      await untilFile(socket)
      start(undefined, log, {}, pump, ...pumpArgs, 'connect', socket)
    }
    await until('the TAP', 15_000, () => tapIsUp(guest))
    if (stack.side !== 'tap') {
      run(guest, 'ip', 'addr', 'add', `${stack.guest}/24`, 'dev', 'tap0')
      run(guest, 'ip', 'route', 'add', 'default', 'via', stack.gateway)
    }
    if (stack.relay) {
      await until("the relay's TAP", 15_000, () => tapIsUp(host))
      run(host, 'ip', 'addr', 'add', `${stack.gateway}/24`, 'dev', 'tap0')
    }
    return await use({
      guestNamespace: guest,
      hostNamespace: host,
      host: stack.host,
      process: competitor,
      log,
    })
  } finally {
    await cleanUp()
  }
}
