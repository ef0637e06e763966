/** The stacks that the benchmark sets side by side. */

import { existsSync } from 'node:fs'
import type { Group } from './results.ts'

/** Where a run of one stack takes place. */
export interface StackContext {
  readonly mtu: number
  /** The stack's frame socket. */
  readonly socket: string
  /** The relay's second socket: a second kernel behind it plays the host. */
  readonly peerSocket: string
  readonly guestNamespace: string
}

/** One competitor. */
export interface Stack {
  readonly name: string
  /** Who makes the socket: the stack listens, or the pump does, or the stack opens the TAP itself. */
  readonly side: 'listens' | 'connects' | 'tap'
  /** The guest's address, its gateway, and the address at which the guest finds the host's loopback. */
  readonly guest: string
  readonly gateway: string
  readonly host: string
  /** A relay carries frames to a second kernel, which needs a pump of its own. */
  readonly relay?: true
  /** The MTUs it can have; all where left out. */
  readonly mtus?: readonly number[]
  /** Groups of tests in which it has no part. */
  readonly without?: readonly Group[]
  /** Where another version or build is to be had: shown when it is missing. */
  readonly from?: string
  command(context: StackContext): readonly string[]
}

const node = process.execPath
const repository = new URL('../..', import.meta.url).pathname
/** What newer-peers.sh fetched; run with its own C library. */
const newer = process.env['NEWER_PEERS'] ?? ''
const newerProgram = (name: string): readonly string[] => [
  `${newer}/root/usr/lib64/ld-linux-x86-64.so.2`,
  '--library-path',
  `${newer}/root/usr/lib/x86_64-linux-gnu`,
  `${newer}/root/usr/bin/${name}`,
]

function passtArguments({ socket, mtu }: StackContext): readonly string[] {
  return [
    '--foreground',
    '--quiet',
    '--ipv4-only',
    '--socket',
    socket,
    '--address',
    '192.168.65.3',
    '--netmask',
    '24',
    '--gateway',
    '192.168.65.1',
    '--mtu',
    String(mtu),
  ]
}

/** In the order of the tables: the yardstick first. */
export const stacks: readonly Stack[] = [
  {
    name: 'relay',
    side: 'connects',
    relay: true,
    guest: '192.168.65.3',
    gateway: '192.168.65.1',
    host: '192.168.65.1',
    command: ({ socket, peerSocket }) => [
      node,
      `${repository}scripts/bench/relay.ts`,
      socket,
      peerSocket,
    ],
  },
  {
    name: 'netkit',
    side: 'listens',
    guest: '192.168.65.3',
    gateway: '192.168.65.1',
    host: '192.168.65.254',
    command: ({ socket, mtu }) => [
      node,
      `${repository}packages/cli/dist/main.js`,
      'gateway',
      '--qemu',
      socket,
      '--mtu',
      String(mtu),
      '--host-alias',
      '--json',
    ],
  },
  {
    name: 'passt',
    side: 'listens',
    guest: '192.168.65.3',
    gateway: '192.168.65.1',
    host: '192.168.65.1',
    command: (context) => ['passt', ...passtArguments(context)],
  },
  {
    name: 'passt (new)',
    side: 'listens',
    guest: '192.168.65.3',
    gateway: '192.168.65.1',
    host: '192.168.65.1',
    from: 'newer-peers.sh',
    // The map of 2023 is an option now: the gateway's address leads to the host's loopback.
    command: (context) => [
      ...newerProgram('passt'),
      ...passtArguments(context),
      '--map-host-loopback',
      '192.168.65.1',
    ],
  },
  {
    name: 'slirp4netns',
    side: 'tap',
    guest: '192.168.65.100',
    gateway: '192.168.65.2',
    host: '192.168.65.2',
    command: ({ mtu, guestNamespace }) => [
      'slirp4netns',
      '--configure',
      '--cidr=192.168.65.0/24',
      `--mtu=${mtu}`,
      '--netns-type=path',
      `/run/netns/${guestNamespace}`,
      'tap0',
    ],
  },
  {
    name: 'libslirp (QEMU)',
    side: 'connects',
    guest: '192.168.65.15',
    gateway: '192.168.65.2',
    host: '192.168.65.2',
    // QEMU without a machine: its user network and the socket on one hub. It has no MTU to set, and does not get to 9,000
    // connections within a minute.
    mtus: [1500],
    without: ['held'],
    command: ({ socket }) => [
      'qemu-system-x86_64',
      '-machine',
      'none',
      '-nodefaults',
      '-display',
      'none',
      '-monitor',
      'none',
      '-netdev',
      'user,id=u,net=192.168.65.0/24,host=192.168.65.2',
      '-netdev',
      `stream,id=s,server=off,addr.type=unix,addr.path=${socket}`,
      '-netdev',
      'hubport,id=h0,hubid=0,netdev=u',
      '-netdev',
      'hubport,id=h1,hubid=0,netdev=s',
    ],
  },
  {
    name: 'gvproxy (new)',
    side: 'listens',
    guest: '192.168.127.3',
    gateway: '192.168.127.1',
    host: '192.168.127.254',
    from: 'newer-peers.sh',
    command: ({ socket, mtu }) => [
      ...newerProgram('gvproxy'),
      '-mtu',
      String(mtu),
      '-listen-qemu',
      `unix://${socket}`,
    ],
  },
]

/** Why a stack cannot run here, or `undefined`. */
export function missing(stack: Stack): string | undefined {
  if (stack.name === 'netkit')
    return existsSync(`${repository}packages/cli/dist/main.js`) ? undefined : 'not built'
  const [program = ''] = stack.command({
    mtu: 1500,
    socket: '',
    peerSocket: '',
    guestNamespace: '',
  })
  if (stack.from !== undefined && !existsSync(`${newer}/ready`))
    return `not fetched: run ${stack.from} and set NEWER_PEERS`
  if (program.startsWith('/')) return undefined
  const found = (process.env['PATH'] ?? '')
    .split(':')
    .some((folder) => existsSync(`${folder}/${program}`))
  return found ? undefined : `${program} is not installed`
}
