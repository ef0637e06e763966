/**
 * The unprivileged side of the helper for ports below 1024.
 *
 * ```
 *   socket   netkit ── requests ──▶ netkit-portd connect (as the user) ──▶ unix socket ──▶ netkit-portd serve (systemd, launchd)
 *   sudo     netkit ── requests ──▶ sudo netkit-portd child
 *            netkit ◀─ descriptors, over the channel that Node uses between its own processes ─┘
 * ```
 *
 * Node cannot receive a descriptor over any other unix socket, which is why a small program stands between; it needs no native
 * module. Both programs are one binary, and it is only run when no component of its path can be changed by anybody but root.
 */

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import type { Socket as DgramSocket } from 'node:dgram'
import { existsSync, statSync } from 'node:fs'
import { systemClock } from '@netkit/core'
import type { Clock } from '@netkit/core'
import type { BoundAddress } from '../bind-overlap.ts'
import { encodeHelperRequest } from './helper-request.ts'
import { changeableComponent } from './root-owned-path.ts'

/** How the helper is reached. */
export type HelperStart = 'socket' | 'sudo'

/** Options of `createPortHelper`. */
export interface PortHelperOptions {
  /** The helper's binary. Default `/usr/local/libexec/netkit/netkit-portd`. */
  readonly binary?: string
  /** The socket of the running helper. Default `/run/netkit/portd-<uid>.sock` (macOS: below `/var/run`). */
  readonly socket?: string
  /** Ways to reach the helper, in order. Default `['socket']`; `sudo` may ask for a password on the terminal. */
  readonly start?: readonly HelperStart[]
  /** The helper's answer must be there within this time, `ms`; default 5 s, and a minute for sudo. */
  readonly timeoutMs?: number
  readonly clock?: Clock
}

/** What `helper.status()` says. */
export interface HelperStatus {
  /** `ready`: can be asked. `missing`: not installed, or not running. `unsafe`: others than root could change it. */
  readonly state: 'ready' | 'missing' | 'unsafe'
  /** The way that would be taken. */
  readonly way: HelperStart | undefined
  readonly detail: string
  /** What to do; empty when ready. */
  readonly hint: string
}

/** The helper, as its clients see it. */
export interface PortHelper extends AsyncDisposable {
  /** Looks, and starts nothing. */
  status(): HelperStatus
  /** A TCP handle that listens at `at`, for `server.listen(handle)`. */
  listen(at: BoundAddress): Promise<object>
  /** A bound UDP socket. */
  bind(at: BoundAddress): Promise<DgramSocket>
  /**
   * Lets the helper accept at `at` and carry each connection to the unix socket at `path`, announced by PROXY protocol v2, until
   * what is returned is disposed of.
   */
  relay(at: BoundAddress, path: string): Promise<AsyncDisposable>
  /** Ends the connection to the helper. Idempotent. */
  close(): Promise<void>
}

/** The error for a helper that is not there. */
export function helperMissing(reason: string, cause?: unknown): Error {
  const error = new Error(reason, cause === undefined ? undefined : { cause })
  return Object.assign(error, { code: 'HELPER_MISSING', reason })
}

/** Makes the client of the helper. */
export function createPortHelper(options: PortHelperOptions = {}): PortHelper {
  return new HelperClient(options)
}

interface Waiting {
  resolve(handle: unknown): void
  reject(error: Error): void
}

const DEFAULT_BINARY = '/usr/local/libexec/netkit/netkit-portd'
const TIMEOUT_MS: Record<HelperStart, number> = { socket: 5000, sudo: 60_000 }

class HelperClient implements PortHelper {
  readonly #options: PortHelperOptions
  readonly #binary: string
  readonly #socket: string
  readonly #start: readonly HelperStart[]
  readonly #clock: Clock
  readonly #timeoutMs: number | undefined
  readonly #waiting = new Map<number, Waiting>()
  #child: ChildProcess | undefined
  #nextId = 1
  #stderr = ''

  constructor(options: PortHelperOptions) {
    this.#options = options
    const run = process.platform === 'darwin' ? '/var/run' : '/run'
    this.#binary = options.binary ?? DEFAULT_BINARY
    this.#socket = options.socket ?? `${run}/netkit/portd-${process.getuid?.() ?? 0}.sock`
    this.#start = options.start ?? ['socket']
    this.#clock = options.clock ?? systemClock
    this.#timeoutMs = options.timeoutMs
  }

  status(): HelperStatus {
    if (process.platform === 'win32') {
      return missing('Windows needs no helper', 'Any user may bind ports below 1024 on Windows.')
    }
    if (!existsSync(this.#binary)) {
      return missing(
        `${this.#binary} is not there`,
        'Install the privileged helper (helper/README.md of @netkit/ports)',
      )
    }
    const component = changeableComponent(this.#binary)
    if (component !== undefined) {
      const detail = `${component} can be changed by others than root`
      const hint = `Install the helper in a directory of root's: ${detail}`
      return { state: 'unsafe', way: undefined, detail, hint }
    }
    for (const way of this.#start) {
      if (way === 'sudo') return { state: 'ready', way, detail: `sudo ${this.#binary}`, hint: '' }
      if (isSocket(this.#socket)) {
        return { state: 'ready', way, detail: this.#socket, hint: '' }
      }
    }
    return missing(
      `${this.#socket} is not there`,
      'Start the privileged helper (systemctl enable --now netkit-portd.socket; launchctl on macOS)',
    )
  }

  async listen(at: BoundAddress): Promise<object> {
    return (await this.#ask(at)) as object
  }

  async bind(at: BoundAddress): Promise<DgramSocket> {
    return (await this.#ask(at)) as DgramSocket
  }

  async relay(at: BoundAddress, path: string): Promise<AsyncDisposable> {
    // A relay lives as long as the connection that asked for it.
    const client = new HelperClient(this.#options)
    try {
      await client.#ask(at, path)
      return client
    } catch (error) {
      await client.close()
      throw error
    }
  }

  async close(): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    this.#child = undefined
    this.#failAll(helperMissing('the connection to the privileged helper was closed'))
    const gone = new Promise((resolve) => child.once('exit', resolve))
    hold(child, true)
    child.stdin?.end()
    await gone
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #ask(at: BoundAddress, relay?: string): Promise<unknown> {
    const id = this.#nextId++
    const request = encodeHelperRequest(id, at, relay)
    const { child, way } = this.#connected()
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
    const timer = this.#clock.after(this.#timeoutMs ?? TIMEOUT_MS[way], () =>
      this.#settle(id)?.reject(helperMissing('the privileged helper does not answer')),
    )
    // The process stays for as long as an answer is due, and no longer.
    hold(child, true)
    child.stdin?.write(request)
    try {
      return await answer
    } finally {
      timer.cancel()
      if (this.#waiting.size === 0) hold(child, false)
    }
  }

  #connected(): { child: ChildProcess; way: HelperStart } {
    const status = this.status()
    if (status.way === undefined) throw helperMissing(status.detail)
    const { way } = status
    if (this.#child !== undefined) return { child: this.#child, way }
    const uid = String(process.getuid?.() ?? 0)
    const [command, args] =
      way === 'sudo'
        ? ['sudo', ['--', this.#binary, 'child', '--uid', uid]]
        : [this.#binary, ['connect', this.#socket]]
    const child = spawn(command, args, { stdio: ['pipe', 'ipc', 'pipe'] })
    this.#child = child
    this.#stderr = ''
    child.on('message', (message, handle) => this.#answered(message, handle))
    child.stderr?.on(
      'data',
      (text: Buffer) => (this.#stderr = (this.#stderr + text.toString()).slice(-500)),
    )
    child.stdin?.on('error', () => undefined)
    child.on('error', (error) => this.#ended(child, error))
    child.on('close', () => this.#ended(child))
    return { child, way }
  }

  #answered(message: unknown, handle: unknown): void {
    const { id, errno } = message as { id: number; errno?: string }
    const waiting = this.#settle(id)
    if (waiting === undefined) closeHandle(handle)
    else if (errno === undefined || errno === '') waiting.resolve(handle)
    else
      waiting.reject(Object.assign(new Error(`the privileged helper: ${errno}`), { code: errno }))
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    return waiting
  }

  #ended(child: ChildProcess, cause?: unknown): void {
    if (this.#child === child) this.#child = undefined
    const said = this.#stderr.trim()
    this.#failAll(
      helperMissing(`the privileged helper ended${said === '' ? '' : ` (${said})`}`, cause),
    )
  }

  #failAll(error: Error): void {
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const entry of waiting) entry.reject(error)
  }
}

/** Whether the child and its pipes keep this process alive. */
function hold(child: ChildProcess, on: boolean): void {
  const handles = [child, child.channel, child.stdin, child.stderr] as ({
    ref?: () => void
    unref?: () => void
  } | null)[]
  for (const handle of handles)
    if (on) handle?.ref?.()
    else handle?.unref?.()
}

const missing = (detail: string, hint: string): HelperStatus => ({
  state: 'missing',
  way: undefined,
  detail,
  hint,
})

function isSocket(path: string): boolean {
  try {
    return statSync(path).isSocket()
  } catch {
    return false
  }
}

/** A descriptor that came too late must not stay bound. */
function closeHandle(handle: unknown): void {
  ;(handle as { close?: () => void } | undefined)?.close?.()
}
