/** The stacks that the benchmark sets side by side. */

import { existsSync } from 'node:fs'

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
  command(context: StackContext): readonly string[]
}

const node = process.execPath
const repository = new URL('../..', import.meta.url).pathname

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
    command: ({ socket, mtu }) => [
      'passt',
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
  if (program.startsWith('/')) return undefined
  const found = (process.env['PATH'] ?? '')
    .split(':')
    .some((folder) => existsSync(`${folder}/${program}`))
  return found ? undefined : `${program} is not installed`
}
