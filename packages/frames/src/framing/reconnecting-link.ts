/**
 * Links that outlive their stream. The stack behind them, its flows and its host sockets stay; while there is no peer, the
 * state is `reconnecting` and credit is 0.
 *
 * ```
 *   reconnectingLink   reconnecting ── open() ok ──▶ up ── stream lost ──▶ reconnecting ── at once, then 100 ms, 200 ms … 5 s
 *   listeningLink      reconnecting ── a peer dials ▶ up ── stream lost ──▶ reconnecting ── the next peer that dials
 *                                                                close() ──▶ closed, from anywhere
 * ```
 *
 * QEMU's `stream` netdev before 8.0 does not reconnect as a client: let QEMU listen (`server=on`) and use
 * `reconnectingLink`. From 8.0 on, `reconnect=` (from 9.2 `reconnect-ms=`) makes it a client that comes back: `listeningLink`.
 */

import { NetkitError, systemClock } from '@netkit/core'
import type {
  Acceptor,
  ByteStream,
  Clock,
  Endpoint,
  ListenOptions,
  Listening,
  Timer,
} from '@netkit/core'
import type { FrameLink } from '../frame-link.ts'
import { RECONNECT_FIRST_DELAY_MS, RECONNECT_MAX_DELAY_MS, RECONNECT_STABLE_MS } from '../limits.ts'
import { hangUp } from './handshake.ts'
import { StreamLink, type StreamLinkOptions } from './stream-link.ts'

/** Options of `reconnectingLink`. */
export interface ReconnectingLinkOptions extends StreamLinkOptions {
  /** Opens the next stream, past its handshake if there is one. Aborted when the link closes. */
  open: (signal: AbortSignal) => Promise<ByteStream>
  /** Pause after the first failed attempt, `ms`; doubles with each further one. Default 100. */
  firstDelayMs?: number
  /** Longest pause, `ms`. Default 5000. */
  maxDelayMs?: number
  /** Attempts in a row after which the link closes with the last failure as cause. Default: never. */
  maxAttempts?: number
}

/** How the search for a peer goes. */
export interface ReconnectStatus {
  /** Streams that the link has run on. */
  readonly connections: number
  /** Failed attempts since the last one that held. */
  readonly failures: number
  /** Why the last attempt failed. */
  readonly lastError: unknown
}

/** A link that looks for its peer again. */
export interface ReconnectingLink extends FrameLink {
  snapshot(): ReconnectStatus
}

class DiallingLink extends StreamLink implements ReconnectingLink {
  readonly #open: (signal: AbortSignal) => Promise<ByteStream>
  readonly #clock: Clock
  readonly #firstDelayMs: number
  readonly #maxDelayMs: number
  readonly #maxAttempts: number
  readonly #abort = new AbortController()
  #timer: Timer | undefined
  #connections = 0
  #failures = 0
  #lastError: unknown
  #openedAt = 0

  constructor(options: ReconnectingLinkOptions) {
    super(options, 'reconnecting')
    this.#open = options.open
    this.#clock = options.clock ?? systemClock
    this.#firstDelayMs = options.firstDelayMs ?? RECONNECT_FIRST_DELAY_MS
    this.#maxDelayMs = options.maxDelayMs ?? RECONNECT_MAX_DELAY_MS
    this.#maxAttempts = options.maxAttempts ?? Number.POSITIVE_INFINITY
    void this.#attempt()
  }

  snapshot(): ReconnectStatus {
    return {
      connections: this.#connections,
      failures: this.#failures,
      lastError: this.#lastError,
    }
  }

  override async close(): Promise<void> {
    this.#timer?.cancel()
    this.#abort.abort()
    await super.close()
  }

  protected override onLost(cause: NetkitError): void {
    if (this.#clock.now() - this.#openedAt >= RECONNECT_STABLE_MS) {
      this.#failures = 0
      this.#wait(0)
    } else this.#failed(cause)
  }

  async #attempt(): Promise<void> {
    let stream: ByteStream
    try {
      stream = await this.#open(this.#abort.signal)
    } catch (error) {
      if (this.state !== 'closed') this.#failed(error)
      return
    }
    if (this.state === 'closed') {
      stream.reset()
      return
    }
    this.#connections++
    this.#openedAt = this.#clock.now()
    this.open(stream)
  }

  #failed(error: unknown): void {
    this.#failures++
    this.#lastError = error
    if (this.#failures >= this.#maxAttempts) {
      this.fail(
        new NetkitError(
          'NETKIT_LINK_UNREACHABLE',
          `No peer could be reached in ${this.#failures} attempts; the last one failed with: ` +
            `${error instanceof Error ? error.message : String(error)}. Start the peer, or allow more attempts.`,
          { cause: error },
        ),
      )
      return
    }
    this.#wait(Math.min(this.#maxDelayMs, this.#firstDelayMs * 2 ** (this.#failures - 1)))
  }

  #wait(ms: number): void {
    if (this.state === 'closed') return
    this.#timer = this.#clock.after(ms, () => void this.#attempt())
  }
}

/**
 * A link that dials its peer, again and again: QEMU with `-netdev stream,server=on`, passt, a forwarder that restarts.
 * Returns at once in state `reconnecting`; the first attempt is already under way.
 *
 * @example
 * ```ts
 * import type { Dialer } from '@netkit/core'
 * import { reconnectingLink, type FrameLink } from '@netkit/frames'
 *
 * // `host` is the host's Network, or any other.
 * function qemu(host: Dialer, path: string): FrameLink {
 *   return reconnectingLink({ open: (signal) => host.connect({ path }, { signal }) })
 * }
 * console.assert(typeof qemu === 'function')
 * ```
 */
export function reconnectingLink(options: ReconnectingLinkOptions): ReconnectingLink {
  return new DiallingLink(options)
}

/** Options of `listeningLink`. */
export interface ListeningLinkOptions extends StreamLinkOptions, ListenOptions {
  /** Where to listen in. */
  acceptor: Acceptor
  /** Where to listen. */
  at: Endpoint
  /** Takes an accepted stream through its handshake; its failure closes that connection alone. Default none. */
  handshake?: (stream: ByteStream) => Promise<ByteStream>
  /**
   * What becomes of a peer that dials while another is served. `refuse`: it is reset; for unix sockets, whose peers cannot vanish
   * unnoticed. `replace`: the former one is reset; for TCP, where a peer that lost its power still seems to be there.
   * Default `refuse`.
   */
  whenBusy?: 'refuse' | 'replace'
}

/** How the listener fared. */
export interface ListeningLinkStatus {
  /** Streams that the link has run on. */
  readonly connections: number
  /** Peers that were turned away because another was being served. */
  readonly refused: number
  /** Peers whose handshake failed. */
  readonly failedHandshakes: number
  /** Why the last handshake failed. */
  readonly lastError: unknown
}

/** A link that serves one peer after the other. */
export interface ListeningLink extends FrameLink {
  /** Where it listens; a port asked for as 0 is filled in. */
  readonly address: Endpoint
  snapshot(): ListeningLinkStatus
}

class AcceptingLink extends StreamLink implements ListeningLink {
  readonly #handshake: (stream: ByteStream) => Promise<ByteStream>
  readonly #clock: Clock
  readonly #replace: boolean
  #listening: Listening | undefined
  /** The accepted stream: in its handshake, or the one the link runs on. */
  #current: ByteStream | undefined
  #connections = 0
  #refused = 0
  #failedHandshakes = 0
  #lastError: unknown

  constructor(options: ListeningLinkOptions) {
    super(options, 'reconnecting')
    this.#handshake = options.handshake ?? ((stream) => Promise.resolve(stream))
    this.#clock = options.clock ?? systemClock
    this.#replace = options.whenBusy === 'replace'
  }

  get address(): Endpoint {
    if (this.#listening === undefined) {
      throw new NetkitError('NETKIT_LINK_NOT_LISTENING', 'The link does not listen yet.')
    }
    return this.#listening.address
  }

  listens(listening: Listening): void {
    this.#listening = listening
  }

  snapshot(): ListeningLinkStatus {
    return {
      connections: this.#connections,
      refused: this.#refused,
      failedHandshakes: this.#failedHandshakes,
      lastError: this.#lastError,
    }
  }

  async serve(accepted: ByteStream): Promise<void> {
    if (this.state === 'closed') {
      accepted.reset()
      return
    }
    const former = this.#current
    if (former !== undefined) {
      if (!this.#replace) {
        this.#refused++
        accepted.reset()
        return
      }
      this.#current = accepted
      former.reset()
      await former.closed
      if (this.#current !== accepted) {
        accepted.reset()
        return
      }
    }
    this.#current = accepted
    void this.#forget(accepted)
    let stream: ByteStream
    try {
      stream = await this.#handshake(accepted)
    } catch (error) {
      this.#failedHandshakes++
      this.#lastError = error
      if (this.#current === accepted) this.#current = undefined
      hangUp(accepted, this.#clock)
      return
    }
    if (this.#current !== accepted) {
      stream.reset()
      return
    }
    this.#connections++
    this.open(stream)
  }

  override async close(): Promise<void> {
    const current = this.#current
    await Promise.all([this.#listening?.close(), super.close()])
    current?.reset()
    await current?.closed
  }

  async #forget(accepted: ByteStream): Promise<void> {
    await accepted.closed
    if (this.#current === accepted) this.#current = undefined
  }
}

/**
 * A link whose peers dial it, one at a time: QEMU with `-netdev stream,server=off`, gvproxy's clients, HyperKit.
 * Resolves once it listens, in state `reconnecting` until the first peer comes.
 *
 * @example
 * ```ts
 * import { memoryNetwork } from '@netkit/core'
 * import { listeningLink, serveVmn3t, u16le } from '@netkit/frames'
 *
 * // As vpnkit does it, for HyperKit. In Node, the acceptor is `hostNetwork()`.
 * const link = await listeningLink({
 *   acceptor: memoryNetwork(),
 *   at: { path: '/run/vpnkit.eth.sock' },
 *   framing: u16le,
 *   handshake: async (stream) => (await serveVmn3t(stream, { mtu: 1500 })).stream,
 * })
 * console.assert(link.state === 'reconnecting')
 * await link.close()
 * ```
 */
export async function listeningLink(options: ListeningLinkOptions): Promise<ListeningLink> {
  const { acceptor, at, signal, backlog, dualStack } = options
  const link = new AcceptingLink(options)
  link.listens(
    await acceptor.listen(at, (stream) => void link.serve(stream), {
      ...(signal && { signal }),
      ...(backlog !== undefined && { backlog }),
      ...(dualStack !== undefined && { dualStack }),
    }),
  )
  return link
}
