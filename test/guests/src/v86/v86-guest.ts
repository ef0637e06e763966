/**
 * A real Linux kernel in Wasm: no QEMU, no root, any operating system.
 *
 * ```
 *   this thread                      worker thread
 *   GuestLink port ◀── frames ──▶ virtio-net  ┐
 *   AgentPool      ◀── text  ───▶ hvc0 ─ bash ┤ v86
 * ```
 *
 * The first start boots (10 s) and keeps a snapshot; later ones go on from it (under a second). A snapshot's clock and random pool
 * are those of the moment it was taken, so both are set anew before anything else runs.
 */

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { MessageChannel, Worker } from 'node:worker_threads'
import { cacheFolder } from '../cache.ts'
import { guestGone, guestTimeout, type LinuxGuest, type Progress } from '../guest.ts'
import { AgentPool } from '../linux/agent.ts'
import { BOOT_TIMEOUT_MS, CONSOLE_TAIL_BYTES, V86_MEMORY_MIB } from '../limits.ts'
import { keepSnapshot, v86Image, type V86Image } from './v86-image.ts'
import type { FromV86Worker, ToV86Worker, V86WorkerData } from './worker.ts'

/** Options of `bootV86`. */
export interface V86Options {
  /** Default: `cacheFolder()`. */
  cache?: string
  progress?: Progress
  signal?: AbortSignal
}

/** A running v86. */
export interface V86Guest extends LinuxGuest {
  readonly kind: 'v86'
  /** The end of the kernel's log. */
  consoleTail(): string
}

/** The worker beside this file: a source file in the repository, a compiled one in a bundle. */
const workerFile = new URL(
  import.meta.url.endsWith('.ts') ? './worker.ts' : './v86-worker.js',
  import.meta.url,
)

const KERNEL_OPTIONS =
  'console=ttyS0 quiet mitigations=off random.trust_cpu=on tsc=reliable lpj=1000000 netkit.agent=hvc0'

/** The file in memory of its own, to be handed to the worker. */
async function bytesOf(path: string): Promise<ArrayBuffer> {
  const bytes = await readFile(path)
  return bytes.buffer.byteLength === bytes.byteLength && bytes.buffer instanceof ArrayBuffer
    ? bytes.buffer
    : new Uint8Array(bytes).buffer
}

interface Running {
  readonly guest: V86Guest
  save(): Promise<ArrayBuffer>
}

async function start(
  image: V86Image,
  fromSnapshot: boolean,
  options: V86Options,
): Promise<Running> {
  const { port1: framePort, port2: workerPort } = new MessageChannel()
  const data: V86WorkerData = {
    framePort: workerPort,
    wasmPath: image.wasm,
    memoryMiB: V86_MEMORY_MIB,
    bios: await bytesOf(image.bios),
    vgaBios: await bytesOf(image.vgaBios),
    start: fromSnapshot
      ? { state: await bytesOf(image.snapshot) }
      : {
          kernel: await bytesOf(image.kernel),
          initramfs: await bytesOf(image.initramfs),
          options: KERNEL_OPTIONS,
        },
  }
  const large =
    'state' in data.start ? [data.start.state] : [data.start.kernel, data.start.initramfs]
  const worker = new Worker(workerFile, {
    workerData: data,
    transferList: [workerPort, ...large],
    // Not this process's: a test runner's loaders have no business in the emulator.
    execArgv: [],
  })
  const send = (message: ToV86Worker): void => worker.postMessage(message)
  const agents = new AgentPool()
  let log = ''
  const detail = (): string => `Kernel log: ${log.trim() || '(empty)'}`
  const receive = agents.addChannel((line) => send({ agent: line }))
  let keep: (state: ArrayBuffer) => void
  let giveUp: (error: Error) => void
  const saved = new Promise<ArrayBuffer>((resolve, reject) => {
    keep = resolve
    giveUp = reject
  })
  worker.on('message', (message: FromV86Worker) => {
    if ('agent' in message) receive(message.agent)
    else if ('console' in message) log = (log + message.console).slice(-CONSOLE_TAIL_BYTES)
    else if ('state' in message) keep(message.state)
    // A snapshot was taken of a guest that had said so.
    else if (fromSnapshot) agents.assumeReady({ kernel: '', uptimeSeconds: 0 })
  })
  const gone = (cause: string): void => {
    const error = guestGone('Something was asked', `${cause}\n${detail()}`)
    agents.close(error)
    giveUp(error)
    framePort.close()
  }
  saved.catch(() => {})
  worker.on('error', (error) => gone(error instanceof Error ? error.message : String(error)))
  worker.on('exit', (code) => gone(`The emulator's thread ended with status ${code}.`))

  const close = async (): Promise<void> => {
    await worker.terminate()
  }
  const guest: V86Guest = {
    kind: 'v86',
    description: 'Linux in v86',
    link: { kind: 'port', port: framePort },
    exec: (script, execOptions) => agents.exec(script, execOptions),
    consoleTail: () => log,
    close,
    [Symbol.asyncDispose]: close,
  }
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(guestTimeout('The boot', BOOT_TIMEOUT_MS, detail())),
      BOOT_TIMEOUT_MS,
    )
    options.signal?.addEventListener('abort', () => reject(options.signal?.reason as Error), {
      once: true,
    })
  })
  try {
    options.signal?.throwIfAborted()
    await Promise.race([agents.ready(), late])
    const kernel = await Promise.race([wake(guest), late])
    return {
      guest: { ...guest, description: `Linux ${kernel} in v86 (a PC in WebAssembly)` },
      save() {
        send({ save: true })
        return saved
      },
    }
  } catch (error) {
    await close()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

/**
 * The first command: gives the guest a clock, a random pool and a MAC address of its own, and asks for the kernel's version.
 * All guests of one snapshot would share these three, and two of them on one network would be one.
 */
async function wake(guest: V86Guest): Promise<string> {
  const seed = randomBytes(64).toString('base64')
  const seconds = Math.floor(Date.now() / 1000)
  const mac = [
    '52:54:00',
    ...Array.from(randomBytes(3), (byte) => byte.toString(16).padStart(2, '0')),
  ]
  const { code, stdout } = await guest.exec(
    `echo '${seed}' | base64 -d >/dev/urandom; date -s @${seconds} >/dev/null
    ip link set eth0 down && ip link set eth0 address ${mac.join(':')} && uname -r`,
    { timeoutMs: BOOT_TIMEOUT_MS },
  )
  if (code !== 0) throw guestGone('The guest was woken', stdout)
  return stdout.trim()
}

/** The image with its snapshot; both are built first when there are none. Rejects as `bootV86`. */
export async function v86Snapshot(options: V86Options = {}): Promise<V86Image> {
  const { cache = cacheFolder(), progress = (): void => {} } = options
  const image = await v86Image(cache, progress)
  if (!existsSync(image.snapshot)) {
    progress('booting Linux in v86 once, for a snapshot (about 15 s)')
    const first = await start(image, false, options)
    try {
      await keepSnapshot(image, await first.save())
    } finally {
      await first.guest.close()
    }
  }
  return image
}

/**
 * Starts Debian's i386 kernel in v86, from a snapshot when there is one; builds image and snapshot first when there is none.
 * Rejects with `NETKIT_GUEST_UNAVAILABLE`, `NETKIT_GUEST_TIMEOUT` or `NETKIT_GUEST_GONE`.
 */
export async function bootV86(options: V86Options = {}): Promise<V86Guest> {
  const image = await v86Snapshot(options)
  options.progress?.('starting Linux in v86 from its snapshot')
  return (await start(image, true, options)).guest
}
