/**
 * A Linux kernel in QEMU.
 *
 * ```
 *            ┌──────────── qemu-system-x86_64 ───────────┐
 *   link  3 ─┤ -netdev stream ── virtio-net ── eth0      │   u32-BE length + frame
 *   qmp   4 ─┤ -mon                                      │
 *   log   5 ─┤ -serial                         ttyS0     │
 *   agent 6…─┤ virtserialport netkit.agent.N ── bash     │
 *            └───────────────────────────────────────────┘
 * ```
 *
 * Every channel is an inherited socket: there is no path, no permission, no stale file and no race at the start, and QEMU's end is
 * an end of file here. A guest whose agents lose this process powers itself off, so nothing is left behind after a crash.
 */

import { spawn, type ChildProcess } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { isNetkitError } from '@netkit/core'
import { cacheFolder } from '../cache.ts'
import {
  guestGone,
  guestTimeout,
  type GuestLink,
  type LinuxGuest,
  type Progress,
} from '../guest.ts'
import { AgentPool, type GuestReady } from '../linux/agent.ts'
import {
  BOOT_TIMEOUT_MS,
  CONSOLE_TAIL_BYTES,
  KVM_BOOT_TIMEOUT_MS,
  QEMU_AGENTS,
  SHUTDOWN_TIMEOUT_MS,
} from '../limits.ts'
import { bestAccelerator } from './accelerator.ts'
import {
  QEMU_DESCRIPTORS,
  qemuArguments,
  type QemuAccelerator,
  type QemuMachine,
  type QemuNetdev,
} from './qemu-command.ts'
import { qemuFiles, type QemuFiles } from './qemu-files.ts'
import { QmpClient } from './qmp.ts'

/** Options of `bootQemu`. */
export interface QemuOptions extends Pick<
  QemuMachine,
  'memoryMiB' | 'cpus' | 'disk' | 'mac' | 'hostMtu' | 'pcap'
> {
  /** Kernel modules that the guest loads, with what they depend on. Default those of its devices. */
  modules?: readonly string[]
  /** Default: frames over an inherited descriptor. */
  netdev?: QemuNetdev
  /** Default: KVM when it works, else TCG. */
  accelerator?: QemuAccelerator
  /** Paths of more programs of this machine for the guest's `/usr/local/bin`; their libraries come along. */
  programs?: readonly string[]
  /** Default: `cacheFolder()`. */
  cache?: string
  progress?: Progress
  signal?: AbortSignal
}

/** A running QEMU. */
export interface QemuGuest extends LinuxGuest {
  readonly kind: 'qemu'
  readonly pid: number
  readonly accelerator: QemuAccelerator
  readonly qmp: QmpClient
  /** What the guest said when it was ready. */
  readonly ready: GuestReady
  /** SIGSTOP: the guest and its clock stand still, the link stays open. */
  freeze(): void
  /** SIGCONT. */
  thaw(): void
  /** Hard reset, and resolves when the guest is ready again. */
  reset(): Promise<void>
  /** Of a guest that `dials`: puts a new stream in the place of a lost one. The guest's carrier stays. */
  redial(): Promise<void>
  /** The cable is pulled: the guest's carrier goes away. */
  linkDown(): Promise<void>
  linkUp(): Promise<void>
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>
  /** The end of the kernel's log. */
  consoleTail(): string
}

function linkOf(netdev: QemuNetdev, stream: Duplex | undefined): GuestLink {
  if (netdev.kind === 'dials' || netdev.kind === 'listens') return netdev
  // A `netdev` guest has its own network; an ended stream stands for "no frames".
  if (stream === undefined) throw new TypeError('An inherited link needs its stream.')
  return { kind: 'stream', stream }
}

/** The descriptor as Node made it: extra `stdio` pipes are socket pairs. */
function channel(child: ChildProcess, descriptor: number): Duplex {
  const stream = child.stdio[descriptor]
  if (!stream || !('write' in stream) || !('read' in stream))
    throw new TypeError(`QEMU has no channel at descriptor ${descriptor}.`)
  return stream as Duplex
}

async function start(
  files: QemuFiles,
  accelerator: QemuAccelerator,
  options: QemuOptions,
): Promise<QemuGuest> {
  const { netdev = { kind: 'inherited' } } = options
  const machine: QemuMachine = {
    ...options,
    netdev,
    accelerator,
    kernel: files.kernel,
    initramfs: files.initramfs,
  }
  const child = spawn(files.qemu, qemuArguments(machine), {
    stdio: [
      'ignore',
      'ignore',
      'pipe',
      ...Array.from(
        { length: QEMU_DESCRIPTORS.firstAgent - QEMU_DESCRIPTORS.link + QEMU_AGENTS },
        () => 'pipe' as const,
      ),
    ],
  })
  let errors = ''
  let log = ''
  const consoleTail = (): string => log.slice(-CONSOLE_TAIL_BYTES)
  const detail = (): string =>
    `QEMU said: ${errors.trim() || '(nothing)'}\nKernel log: ${consoleTail().trim() || '(empty)'}`
  const agents = new AgentPool()
  const exited = new Promise<void>((resolve) => {
    const gone = (): void => {
      agents.close(guestGone('Something was asked', detail()))
      resolve()
    }
    child.once('error', (error) => {
      errors += error.message
      gone()
    })
    child.once('close', gone)
  })
  // Without this, a process that ends normally would leave a frozen guest behind.
  const killWithUs = (): void => void child.kill('SIGKILL')
  process.once('exit', killWithUs)
  void exited.then(() => process.off('exit', killWithUs))

  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (errors += chunk))
  const serial = channel(child, QEMU_DESCRIPTORS.console)
  serial.setEncoding('latin1').on('data', (chunk: string) => {
    log = (log + chunk).slice(-2 * CONSOLE_TAIL_BYTES)
  })
  serial.on('error', () => {})
  for (let i = 0; i < QEMU_AGENTS; i++) {
    const agent = channel(child, QEMU_DESCRIPTORS.firstAgent + i)
    const receive = agents.addChannel((line) => agent.write(line))
    agent.setEncoding('utf8').on('data', receive)
    agent.on('error', () => {})
  }
  const qmp = new QmpClient(channel(child, QEMU_DESCRIPTORS.qmp))
  const stream = channel(child, QEMU_DESCRIPTORS.link)
  // A guest that dies resets its link; whoever reads it learns that from 'close'.
  stream.on('error', () => {})

  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
  }
  const whenReady = async (timeoutMs: number): Promise<GuestReady> => {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(guestTimeout('The boot', timeoutMs, detail())), timeoutMs)
      options.signal?.addEventListener('abort', () => reject(options.signal?.reason as Error), {
        once: true,
      })
    })
    try {
      return await Promise.race([agents.ready(), late])
    } finally {
      clearTimeout(timer)
    }
  }
  let ready: GuestReady
  try {
    options.signal?.throwIfAborted()
    ready = await whenReady(accelerator === 'kvm' ? KVM_BOOT_TIMEOUT_MS : BOOT_TIMEOUT_MS)
  } catch (error) {
    await kill()
    throw error
  }
  const close = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return exited
    child.kill('SIGCONT')
    qmp.execute('quit').catch(() => {})
    const timer = setTimeout(() => child.kill('SIGKILL'), SHUTDOWN_TIMEOUT_MS)
    await exited
    clearTimeout(timer)
  }
  return {
    kind: 'qemu',
    description: `Linux ${ready.kernel} in QEMU ${files.qemuVersion} (${accelerator.toUpperCase()})`,
    link: linkOf(netdev, stream),
    pid: child.pid ?? -1,
    accelerator,
    qmp,
    ready,
    exec: (script, execOptions) => agents.exec(script, execOptions),
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async reset() {
      agents.reset()
      await qmp.execute('system_reset')
      await whenReady(BOOT_TIMEOUT_MS)
    },
    async redial() {
      if (netdev.kind !== 'dials') throw new TypeError('Only a QEMU that dials can dial again.')
      for (const id of ['h0', 's0']) await qmp.execute('netdev_del', { id })
      const addr = { type: 'unix', path: netdev.path }
      await qmp.execute('netdev_add', { type: 'stream', id: 's0', server: false, addr })
      await qmp.execute('netdev_add', { type: 'hubport', id: 'h0', hubid: 0, netdev: 's0' })
    },
    async linkDown() {
      await qmp.execute('set_link', { name: 'n0', up: false })
    },
    async linkUp() {
      await qmp.execute('set_link', { name: 'n0', up: true })
    },
    kill,
    consoleTail,
    close,
    [Symbol.asyncDispose]: close,
  }
}

/**
 * Boots Debian's cloud kernel in QEMU and resolves when its agents are ready. Rejects with `NETKIT_GUEST_UNAVAILABLE`,
 * `NETKIT_GUEST_TIMEOUT` or `NETKIT_GUEST_GONE`.
 */
export async function bootQemu(options: QemuOptions = {}): Promise<QemuGuest> {
  const { cache = cacheFolder(), progress = (): void => {} } = options
  const files = await qemuFiles(cache, progress, options)
  const accelerator = options.accelerator ?? (await bestAccelerator(files.qemu))
  progress(`booting Linux ${files.kernelVersion} in QEMU ${files.qemuVersion} (${accelerator})`)
  try {
    return await start(files, accelerator, options)
  } catch (error) {
    const mayFallBack = accelerator === 'kvm' && options.accelerator === undefined
    const isBoot =
      isNetkitError(error, 'NETKIT_GUEST_TIMEOUT') || isNetkitError(error, 'NETKIT_GUEST_GONE')
    if (!mayFallBack || !isBoot) throw error
    progress('KVM started a BIOS but not the kernel; booting without it')
    return start(files, 'tcg', options)
  }
}
