/**
 * The QEMU Machine Protocol (docs/interop/qmp-spec): one JSON object per line; a greeting, `qmp_capabilities`, then commands that
 * are answered in order, with events in between.
 */

import type { Duplex } from 'node:stream'
import { NetkitError } from '@netkit/core'

/** An event of QEMU, such as `NETDEV_STREAM_CONNECTED`. */
export interface QmpEvent {
  readonly event: string
  readonly data?: Record<string, unknown>
}

interface Pending {
  readonly command: string
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

/** A QMP session. */
export class QmpClient {
  readonly #stream: Duplex
  readonly #pending: Pending[] = []
  readonly #waiting: {
    event: string
    resolve: (event: QmpEvent) => void
    reject: (error: Error) => void
  }[] = []
  #rest = ''
  #closed: Error | undefined

  constructor(stream: Duplex) {
    this.#stream = stream
    stream.setEncoding('utf8')
    stream.on('data', (chunk: string) => this.#receive(chunk))
    stream.on('error', (error: Error) => this.#close(error))
    stream.on('close', () => this.#close())
    // The greeting needs no answer of ours but this; QEMU answers it like any command.
    this.execute('qmp_capabilities').catch(() => {})
  }

  /** Runs one command and gives its `return` value. */
  execute(command: string, args?: Record<string, unknown>): Promise<unknown> {
    if (this.#closed) return Promise.reject(this.#closed)
    return new Promise((resolve, reject) => {
      this.#pending.push({ command, resolve, reject })
      this.#stream.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
    })
  }

  /** The next event of this name. */
  event(name: string): Promise<QmpEvent> {
    if (this.#closed) return Promise.reject(this.#closed)
    return new Promise((resolve, reject) => this.#waiting.push({ event: name, resolve, reject }))
  }

  #receive(chunk: string): void {
    this.#rest += chunk
    for (;;) {
      const end = this.#rest.indexOf('\n')
      if (end < 0) return
      const line = this.#rest.slice(0, end).trim()
      this.#rest = this.#rest.slice(end + 1)
      if (line !== '') this.#message(JSON.parse(line) as Record<string, unknown>)
    }
  }

  #message(message: Record<string, unknown>): void {
    if (typeof message['event'] === 'string') {
      for (let i = this.#waiting.length - 1; i >= 0; i--) {
        const waiter = this.#waiting[i]
        if (waiter?.event !== message['event']) continue
        this.#waiting.splice(i, 1)
        waiter.resolve(message as unknown as QmpEvent)
      }
    } else if ('return' in message) {
      this.#pending.shift()?.resolve(message['return'])
    } else if ('error' in message) {
      const pending = this.#pending.shift()
      const { desc } = message['error'] as { desc?: string }
      pending?.reject(
        new NetkitError(
          'NETKIT_QMP',
          `QEMU refused ${pending.command}: ${desc ?? 'no reason given'}`,
        ),
      )
    }
  }

  #close(cause?: Error): void {
    this.#closed ??= new NetkitError('NETKIT_GUEST_GONE', 'QEMU closed its control channel.', {
      cause,
    })
    for (const pending of this.#pending.splice(0)) pending.reject(this.#closed)
    for (const waiter of this.#waiting.splice(0)) waiter.reject(this.#closed)
  }
}
