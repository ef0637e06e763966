/**
 * Linux TAP: a network interface whose cable ends in this process.
 *
 * ```
 *   openTap          needs CAP_NET_ADMIN; in this network namespace or a given one (the thread visits it and comes back)
 *   openRootlessTap  no privileges: a child in a user and network namespace of its own opens the TAP, and the descriptor is
 *                    taken over by pidfd_getfd(2). The namespace lives as long as the child.
 * ```
 */

import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { NetkitError } from '@netkit/core'
import type { Clock } from '@netkit/core'
import { DescriptorLink } from '../descriptor/descriptor-link.ts'
import { errnoOf, loadLibc, type Libc } from '../descriptor/koffi-libc.ts'
import type { FrameLink } from '../frame-link.ts'
import { DEFAULT_MTU_BYTES, TAP_QUEUE_FRAMES } from '../limits.ts'

// linux/if_tun.h, asm-generic/fcntl.h, linux/sched.h
const IFF_TAP = 0x0002
const IFF_NO_PI = 0x1000
const TUNSETIFF = 0x4004_54ca
const SIOCSIFTXQLEN = 0x8943
const AF_INET = 2
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0x80000
const O_RDWR = 0x0002
const O_NONBLOCK = 0x0800
const O_CLOEXEC = 0x80000
const CLONE_NEWNET = 0x4000_0000
const SYS_PIDFD_OPEN = 434
const SYS_PIDFD_GETFD = 438
const EPERM = 1
const ENOENT = 2
const EBUSY = 16

/** Options of both kinds of TAP. */
export interface TapOptions {
  /** The interface's name, at most 15 characters. Default: the kernel chooses `tap0`, `tap1`, … */
  name?: string
  /** What the link takes and gives; the interface's own MTU is its owner's to set. Default 1500. */
  mtu?: number
  clock?: Clock
  /** Bytes that may wait before there is no more credit. Default 1 MiB. */
  queueBytes?: number
}

/** Options of `openTap`. */
export interface OpenTapOptions extends TapOptions {
  /** A network namespace by the name that `ip netns` gave it, or by path (`/proc/<pid>/ns/net`). Default this process's. */
  netns?: string
}

/** A link to a TAP. */
export interface TapLink extends FrameLink {
  /** The interface's name. */
  readonly name: string
  /** Outgoing frames that the kernel refused, e.g. because the interface is down. */
  readonly unsent: number
}

/** A link to a TAP in a namespace of its own. */
export interface RootlessTapLink extends TapLink {
  /** The process that holds the namespace: `nsenter -t <pid> -U -n --preserve-credentials ip link set <name> up`. */
  readonly pid: number
}

class LinuxTap extends DescriptorLink implements TapLink {
  readonly name: string

  constructor(libc: Libc, fd: number, name: string, options: TapOptions) {
    const { EAGAIN, ENOBUFS } = errnoOf('linux')
    super(
      libc,
      {
        fd,
        receive: (into, length) => libc.read(fd, into, length),
        send: (frame, length) => libc.write(fd, frame, length),
        wouldBlock: -EAGAIN,
        noBuffers: -ENOBUFS,
        close: () => void libc.close(fd),
      },
      {
        mtu: options.mtu ?? DEFAULT_MTU_BYTES,
        clock: options.clock,
        queueBytes: options.queueBytes,
      },
    )
    this.name = name
  }
}

/** Opens a TAP that holds 10,000 frames for a busy process; it goes when the link closes. */
export async function openTap(options: OpenTapOptions = {}): Promise<TapLink> {
  const libc = await loadForLinux()
  checkName(options.name)
  const { netns } = options
  const { fd, name } =
    netns === undefined
      ? createTap(libc, options.name)
      : inNamespace(libc, netns.includes('/') ? netns : `/run/netns/${netns}`, () =>
          createTap(libc, options.name),
        )
  return new LinuxTap(libc, fd, name, options)
}

/** What the child runs: it opens the TAP, says where, and lives until its standard input ends. */
const CHILD = `
const koffi = require(process.argv[1])
const libc = koffi.load(null)
const fd = libc.func('int open(const char *, int)')('/dev/net/tun', ${O_RDWR | O_NONBLOCK | O_CLOEXEC})
const request = new Uint8Array(40)
request.set(Buffer.from(process.argv[2], 'latin1'))
new DataView(request.buffer).setUint16(16, ${IFF_TAP | IFF_NO_PI}, true)
const result = fd < 0 ? -1 : libc.func('int ioctl(int, unsigned long, void *)')(fd, ${TUNSETIFF}, request)
const name = Buffer.from(request.subarray(0, 16)).toString('latin1').replace(/\\0.*$/, '')
console.log(JSON.stringify(result < 0 ? { errno: koffi.errno() } : { fd, pid: process.pid, name }))
process.stdin.resume().on('end', () => process.exit())
`

/**
 * Opens a TAP in a network namespace of its own, without privileges. Needs util-linux's unshare and Linux 5.6. The kernel holds 500
 * frames for a busy process, and drops the rest: `nsenter … ip link set <name> txqueuelen 10000` lets it hold more.
 */
export async function openRootlessTap(options: TapOptions = {}): Promise<RootlessTapLink> {
  const libc = await loadForLinux()
  checkName(options.name)
  const koffi = createRequire(import.meta.url).resolve('koffi')
  const child = spawn(
    'unshare',
    [
      '--user',
      '--map-root-user',
      '--net',
      '--kill-child',
      process.execPath,
      '-e',
      CHILD,
      koffi,
      options.name ?? '',
    ],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  )
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const end = async (): Promise<void> => {
    child.stdin.end()
    await exited
  }
  let said: { fd: number; pid: number; name: string } | { errno: number }
  try {
    said = await new Promise((resolve, reject) => {
      let output = ''
      let errors = ''
      child.once('error', reject)
      child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
      child.stdout.on('data', (chunk: Buffer) => {
        output += chunk.toString()
        if (output.includes('\n')) resolve(JSON.parse(output) as typeof said)
      })
      child.once('close', () => reject(new Error(errors.trim() || 'unshare ended without a word')))
    })
  } catch (error) {
    child.stdin.destroy()
    throw new NetkitError(
      'NETKIT_TAP_UNAVAILABLE',
      `No TAP could be opened in a namespace of its own: ${error instanceof Error ? error.message : String(error)}. ` +
        `unshare (util-linux) must be installed and user namespaces be allowed (sysctl user.max_user_namespaces).`,
      { cause: error },
    )
  }
  if ('errno' in said) {
    await end()
    throw tapError('/dev/net/tun', -said.errno)
  }
  const systemCall = libc.call('long syscall(long, long, long, long)')
  const holder = systemCall(SYS_PIDFD_OPEN, said.pid, 0, 0)
  const fd = holder < 0 ? holder : systemCall(SYS_PIDFD_GETFD, holder, said.fd, 0)
  if (holder >= 0) libc.close(holder)
  if (fd < 0) {
    await end()
    throw new NetkitError(
      'NETKIT_TAP_UNAVAILABLE',
      `The TAP's descriptor could not be taken over from its namespace (errno ${-fd}). pidfd_getfd(2) needs Linux 5.6 ` +
        `and the right to trace one's child (sysctl kernel.yama.ptrace_scope of at most 1).`,
    )
  }
  return new RootlessTap(libc, fd, said.name, said.pid, options, end)
}

class RootlessTap extends LinuxTap implements RootlessTapLink {
  readonly pid: number
  readonly #end: () => Promise<void>

  constructor(
    libc: Libc,
    fd: number,
    name: string,
    pid: number,
    options: TapOptions,
    end: () => Promise<void>,
  ) {
    super(libc, fd, name, options)
    this.pid = pid
    this.#end = end
  }

  override async close(): Promise<void> {
    await super.close()
    await this.#end()
  }
}

function loadForLinux(): Promise<Libc> {
  if (process.platform !== 'linux') {
    return Promise.reject(
      new NetkitError('NETKIT_TAP_UNSUPPORTED', `A TAP needs Linux; this is ${process.platform}.`),
    )
  }
  return loadLibc('A TAP')
}

function checkName(name: string | undefined): void {
  if (name !== undefined && !/^[^\s/:]{1,15}$/.test(name)) {
    throw new NetkitError(
      'NETKIT_TAP_NAME',
      `"${name}" is no name for an interface: 1 to 15 characters without space, slash and colon.`,
    )
  }
}

function createTap(libc: Libc, name = ''): { fd: number; name: string } {
  const path = '/dev/net/tun'
  const fd = libc.call('int open(const char *path, int flags)')(
    path,
    O_RDWR | O_NONBLOCK | O_CLOEXEC,
  )
  if (fd < 0) throw tapError(path, fd)
  // struct ifreq: 16 bytes name, then u16 flags.
  const request = new Uint8Array(40)
  request.set(new TextEncoder().encode(name))
  new DataView(request.buffer).setUint16(16, IFF_TAP | IFF_NO_PI, true)
  const ioctl = libc.call('int ioctl(int fd, unsigned long request, void *argument)')
  const result = ioctl(fd, TUNSETIFF, request)
  if (result < 0) {
    libc.close(fd)
    throw tapError(name === '' ? 'a new interface' : name, result)
  }
  lengthenQueue(libc, request)
  return { fd, name: new TextDecoder().decode(request.subarray(0, 16)).replace(/\0.*$/s, '') }
}

/** Lets the interface named in `request` hold TAP_QUEUE_FRAMES. In a user namespace its root may not, and the kernel's 500 stay. */
function lengthenQueue(libc: Libc, request: Uint8Array): void {
  const open = libc.call('int socket(int domain, int type, int protocol)')
  const socket = open(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  if (socket < 0) return
  const queue = request.slice()
  new DataView(queue.buffer).setInt32(16, TAP_QUEUE_FRAMES, true)
  const ioctl = libc.call('int ioctl(int fd, unsigned long request, void *argument)')
  ioctl(socket, SIOCSIFTXQLEN, queue)
  libc.close(socket)
}

/** Runs `run`, which must not wait, while this thread is in another network namespace. */
function inNamespace<T>(libc: Libc, path: string, run: () => T): T {
  const open = libc.call('int open(const char *path, int flags)')
  const setns = libc.call('int setns(int fd, int type)')
  const home = open('/proc/thread-self/ns/net', O_CLOEXEC)
  const there = open(path, O_CLOEXEC)
  try {
    const result = home < 0 ? home : there < 0 ? there : setns(there, CLONE_NEWNET)
    if (result < 0) {
      throw new NetkitError(
        'NETKIT_TAP_NAMESPACE',
        `The network namespace ${path} could not be entered (errno ${-result}). ` +
          (result === -ENOENT
            ? 'It does not exist: ip netns list shows those that do.'
            : 'Entering one needs CAP_SYS_ADMIN; openRootlessTap needs nothing.'),
      )
    }
    try {
      return run()
    } finally {
      const back = setns(home, CLONE_NEWNET)
      if (back < 0) {
        // A thread that stays in the guest's namespace would open every later socket there.
        // oxlint-disable-next-line no-unsafe-finally -- nothing that `run` did may hide this
        throw new NetkitError(
          'NETKIT_TAP_NAMESPACE',
          `The way back from ${path} failed (errno ${-back}).`,
        )
      }
    }
  } finally {
    if (home >= 0) libc.close(home)
    if (there >= 0) libc.close(there)
  }
}

function tapError(what: string, result: number): NetkitError {
  const advice =
    result === -EPERM
      ? 'Opening a TAP needs CAP_NET_ADMIN; openRootlessTap needs nothing.'
      : result === -ENOENT
        ? 'The kernel has no TUN/TAP here: modprobe tun, or give the container the device /dev/net/tun.'
        : result === -EBUSY
          ? 'Another process has this interface open: take another name.'
          : 'See errno(3).'
  return new NetkitError(
    'NETKIT_TAP_UNAVAILABLE',
    `No TAP could be opened: ${what} failed with errno ${-result}. ${advice}`,
  )
}
