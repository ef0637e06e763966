/**
 * One client of a stream port, from the moment its target is known.
 *
 * ```
 *   client (not read) ──▶ dial target ──▶ splice ──▶ both directions ended
 *            │ leaves        │ refused, silent            │ port released
 *            ▼               ▼                            ▼
 *       dial aborted       client reset              both ends reset
 * ```
 */

import { blockOf, errorCode, isIpEndpoint, splice } from '@netkit/core'
import type {
  ByteStream,
  Clock,
  ConnectOptions,
  LiveListEntry,
  PortTarget,
  Splice,
} from '@netkit/core'
import type { SourceAddress } from './client-access.ts'
import { encodeProxyHeader } from './proxy-protocol.ts'

/** How a flow that was dialled went. */
export interface TcpFlowEnd {
  readonly outcome: 'refused' | 'closed'
  /** Why it was refused. */
  readonly reason?: string
  readonly bytesIn: number
  readonly bytesOut: number
  readonly durationMs: number
}

/** Where a flow goes. */
export interface TcpFlowTarget {
  readonly target: PortTarget
  readonly source: SourceAddress
}

/** See the head of this file. */
export class TcpFlow implements LiveListEntry {
  place = -1
  readonly #client: ByteStream
  readonly #clock: Clock
  readonly #dialTimeoutMs: number
  #dial: AbortController | undefined
  #joined: Splice | undefined
  #isReleased = false

  constructor(client: ByteStream, clock: Clock, dialTimeoutMs: number) {
    this.#client = client
    this.#clock = clock
    this.#dialTimeoutMs = dialTimeoutMs
  }

  /** Dials and joins. Resolves when both streams have closed. Never rejects. */
  async run(where: TcpFlowTarget): Promise<TcpFlowEnd> {
    const client = this.#client
    const started = this.#clock.now()
    let server: ByteStream
    try {
      server = await this.#connect(where)
      if (this.#isReleased) {
        server.reset()
        throw new Error('the port was released')
      }
    } catch (error) {
      client.reset()
      const reason = errorCode(error) ?? String(error)
      const durationMs = this.#clock.now() - started
      return { outcome: 'refused', reason, bytesIn: 0, bytesOut: 0, durationMs }
    }
    const { proxyProtocol } = where.target
    if (proxyProtocol !== undefined) {
      const header = encodeProxyHeader(proxyProtocol, client.remote, client.local)
      server.write(blockOf(header), 0, header.length)
    }
    this.#joined = splice(client, server)
    const { bytesAToB: bytesIn, bytesBToA: bytesOut } = await this.#joined.closed
    const durationMs = this.#clock.now() - started
    return { outcome: 'closed', bytesIn, bytesOut, durationMs }
  }

  /** The port is released: nothing is dialled and nothing flows any more. */
  end(): void {
    this.#isReleased = true
    this.#dial?.abort(new Error('the port was released'))
    this.#joined?.reset()
  }

  async #connect({ target, source }: TcpFlowTarget): Promise<ByteStream> {
    const dial = new AbortController()
    this.#dial = dial
    const timer = this.#clock.after(this.#dialTimeoutMs, () =>
      dial.abort(Object.assign(new Error('the target does not answer'), { code: 'ETIMEDOUT' })),
    )
    // A client that leaves while we dial takes the dial with it. Later there is nothing to abort, and no error is made in vain.
    void this.#client.closed.then(() => this.#dial?.abort(new Error('the client left')))
    const { remote } = this.#client
    const origin = {
      layer: 'ports',
      ...(remote !== undefined && isIpEndpoint(remote) && { source: remote }),
    } as const
    const options: ConnectOptions = { signal: dial.signal, origin }
    const from = source.visible(remote)
    const { network, to } = target
    try {
      return await network.connect(to, from === undefined ? options : { ...options, from })
    } catch (error) {
      // The target's network cannot speak as the client: the service is worth more than the address.
      if (from === undefined || errorCode(error) !== 'EADDRNOTAVAIL') throw error
      return await network.connect(to, options)
    } finally {
      timer.cancel()
      this.#dial = undefined
    }
  }
}
