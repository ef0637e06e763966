/**
 * The host's end of a guest's command channel (the guest's end is in guest-scripts.ts).
 *
 * ```
 *   host ── "7 BASE64(script)\n" ──────────────▶ guest
 *        ◀── raw output, "\n--netkit-exit 7 0--\n" ──
 * ```
 *
 * One channel runs one command at a time. `AgentPool` spreads commands over the channels of one guest and queues the rest.
 * A guest that starts writes "--netkit-ready VERSION UPTIME--"; when that comes while a command runs, the guest was reset and the
 * command is lost.
 */

import { guestGone, guestTimeout, type ExecOptions, type ExecResult } from '../guest.ts'
import { EXEC_TIMEOUT_MS } from '../limits.ts'

const READY = /--netkit-ready (\S+) (\S+)--\r?\n/

interface Job {
  readonly id: number
  readonly script: string
  /** What ends its output; the status follows. */
  readonly trailer: string
  readonly resolve: (result: ExecResult) => void
  readonly reject: (error: Error) => void
  readonly timeoutMs: number
  timer?: NodeJS.Timeout
}

/** What a guest said when it was ready. */
export interface GuestReady {
  /** `uname -r` */
  readonly kernel: string
  /** The guest's clock at that moment. */
  readonly uptimeSeconds: number
}

interface ChannelEvents {
  ready: (ready: GuestReady) => void
  /** The channel can run the next command. */
  idle: () => void
}

class AgentChannel {
  #running: Job | undefined
  // Output of the running command; a string per chunk is joined only when a trailer may be complete.
  #output = ''
  readonly #send: (line: string) => void
  readonly #events: ChannelEvents
  isReady = false

  constructor(send: (line: string) => void, events: ChannelEvents) {
    this.#send = send
    this.#events = events
  }

  get isFree(): boolean {
    return this.isReady && this.#running === undefined
  }

  run(job: Job): void {
    this.#running = job
    this.#output = ''
    job.timer = setTimeout(() => {
      // The channel stays busy: the command still runs, and its trailer frees the channel.
      job.reject(guestTimeout(`The command in the guest`, job.timeoutMs, this.#describe(job)))
    }, job.timeoutMs)
    this.#send(`${job.id} ${Buffer.from(job.script).toString('base64')}\n`)
  }

  receive(chunk: string): void {
    this.#output += chunk
    const ready = READY.exec(this.#output)
    if (ready) {
      this.#output = this.#output.slice(ready.index + ready[0].length)
      if (this.#running) this.#fail(this.#running)
      this.isReady = true
      this.#events.ready({ kernel: ready[1] ?? '', uptimeSeconds: Number(ready[2]) })
      this.#events.idle()
    }
    const job = this.#running
    if (!job) return
    // Our own trailer only: output may quote another one. It is looked for near the end, so that a long output costs one scan.
    const start = Math.max(0, this.#output.length - chunk.length - job.trailer.length - 16)
    const at = this.#output.indexOf(job.trailer, start)
    const exit = at < 0 ? null : /^(\d+)--\r?\n/.exec(this.#output.slice(at + job.trailer.length))
    if (!exit) return
    const stdout = this.#output.slice(0, at)
    this.#running = undefined
    this.#output = ''
    clearTimeout(job.timer)
    job.resolve({ code: Number(exit[1]), stdout })
    this.#events.idle()
  }

  /** The guest is going down or gone. */
  lose(): void {
    this.isReady = false
    if (this.#running) this.#fail(this.#running)
  }

  #fail(job: Job): void {
    clearTimeout(job.timer)
    this.#running = undefined
    job.reject(guestGone('A command ran', this.#describe(job)))
  }

  #describe(job: Job): string {
    return `Command: ${job.script.trim()}\nOutput so far: ${this.#output.trim() || '(none)'}`
  }
}

/** Runs commands on a guest's channels. */
export class AgentPool {
  readonly #channels: AgentChannel[] = []
  readonly #waiting: Job[] = []
  #readyWaiters: {
    resolve: (ready: GuestReady) => void
    reject: (error: Error) => void
  }[] = []
  #lastReady: GuestReady | undefined
  #nextId = 1
  #gone: Error | undefined

  /** Adds a channel that writes with `send`; the returned function takes what arrives on it. */
  addChannel(send: (line: string) => void): (chunk: string) => void {
    const channel = new AgentChannel(send, {
      ready: (ready) => this.#ready(ready),
      idle: () => this.#next(),
    })
    this.#channels.push(channel)
    return (chunk) => channel.receive(chunk)
  }

  /** Resolves once the guest said that it is ready; at once when it already did. */
  ready(): Promise<GuestReady> {
    if (this.#gone) return Promise.reject(this.#gone)
    if (this.#lastReady) return Promise.resolve(this.#lastReady)
    return new Promise((resolve, reject) => this.#readyWaiters.push({ resolve, reject }))
  }

  /** For a guest that continues where a snapshot left it: its ready line was said long ago. */
  assumeReady(ready: GuestReady): void {
    for (const channel of this.#channels) channel.isReady = true
    this.#ready(ready)
    this.#next()
  }

  exec(script: string, options: ExecOptions = {}): Promise<ExecResult> {
    if (this.#gone) return Promise.reject(this.#gone)
    return new Promise((resolve, reject) => {
      const timeoutMs = options.timeoutMs ?? EXEC_TIMEOUT_MS
      const id = this.#nextId++
      const trailer = `\n--netkit-exit ${id} `
      this.#waiting.push({ id, script, trailer, resolve, reject, timeoutMs })
      this.#next()
    })
  }

  /** The guest is being reset: running commands are lost, queued ones wait for its next ready line. */
  reset(): void {
    this.#lastReady = undefined
    for (const channel of this.#channels) channel.lose()
  }

  /** The guest is gone for good. */
  close(error: Error): void {
    this.#gone ??= error
    this.reset()
    for (const job of this.#waiting.splice(0)) job.reject(this.#gone)
    for (const waiter of this.#readyWaiters.splice(0)) waiter.reject(this.#gone)
  }

  #ready(ready: GuestReady): void {
    this.#lastReady = ready
    for (const waiter of this.#readyWaiters.splice(0)) waiter.resolve(ready)
  }

  #next(): void {
    for (const channel of this.#channels) {
      if (!channel.isFree) continue
      const job = this.#waiting.shift()
      if (!job) return
      channel.run(job)
    }
  }
}
