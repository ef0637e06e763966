/**
 * A link over UDP: one frame per datagram, no header. QEMU speaks it with
 * `-netdev dgram,id=n0,local.type=inet,local.host=127.0.0.1,local.port=A,remote.type=inet,remote.host=127.0.0.1,remote.port=B`.
 *
 * ```
 *   peer ── datagram = frame ──▶ one copy into a block ──▶ sink (frame, batchEnd)
 *   peer ◀── datagram = frame ── port.send(block, …) ◀── flush;   port.queued over its bound: the rest waits, asked every ms
 * ```
 *
 * Only the peer's datagrams are frames: anybody on the host can send to a loopback port. The peer is the one that was
 * given, or the first that sent a frame. UDP has no end: a peer that is gone looks like one that is silent, so the link stays
 * `up`, and refused datagrams are lost as on a wire.
 */

import { systemClock } from '@netkit/core'
import type { Clock, DatagramPort, IpEndpoint, Timer } from '@netkit/core'
import type { FrameLink } from '../frame-link.ts'
import { DEFAULT_MTU_BYTES, LINK_QUEUE_BYTES, MEDIUM_POLL_MS } from '../limits.ts'
import { FrameInbox } from './frame-inbox.ts'
import { PacketLink } from './packet-link.ts'

/** Options of `datagramLink`. */
export interface DatagramLinkOptions {
  /** Default 1500. A frame must fit a datagram: with loopback's MTU of 65536, up to 65493. */
  mtu?: number
  /** The only peer. Default: the port's, when it is connected, else the first that sends a frame. */
  peer?: IpEndpoint
  clock?: Clock
  /** Bytes that may wait before there is no more credit. Default 1 MiB. */
  queueBytes?: number
}

/** Link and its view of the peer. */
export interface DatagramLink extends FrameLink {
  /** Where frames go to; `undefined` until the peer is known, and then there is no credit either. */
  readonly peer: IpEndpoint | undefined
  /** Datagrams that the network refused: nobody listens at the peer, or they are too long for it. */
  readonly refused: number
}

class UdpLink extends PacketLink implements DatagramLink {
  readonly #port: DatagramPort
  readonly #clock: Clock
  readonly #inbox = new FrameInbox()
  readonly #portBytes: number
  #peer: IpEndpoint | undefined
  #paused = false
  #timer: Timer | undefined
  #refused = 0

  constructor(port: DatagramPort, options: DatagramLinkOptions) {
    super(options.mtu ?? DEFAULT_MTU_BYTES, options.queueBytes)
    this.#port = port
    this.#clock = options.clock ?? systemClock
    this.#portBytes = options.queueBytes ?? LINK_QUEUE_BYTES
    this.#peer = options.peer ?? port.connected
    port.onMessage((bytes, from) => this.#arrived(bytes, from))
    port.onError(() => this.#refused++)
  }

  get peer(): IpEndpoint | undefined {
    return this.#peer
  }

  get refused(): number {
    return this.#refused
  }

  override get credit(): number {
    return this.#peer === undefined ? 0 : super.credit
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
  }

  async close(): Promise<void> {
    if (this.state !== 'closed') {
      this.enter('closed', undefined)
      this.#timer?.cancel()
      this.#port.onMessage(undefined)
      this.#port.onError(undefined)
      this.dropQueued()
      this.#inbox.release()
    }
    await this.#port.close()
  }

  protected transmit(): void {
    const port = this.#port
    const to = port.connected === undefined ? this.#peer : undefined
    while (this.flushed > 0 && this.state === 'up') {
      const { block, offset, length } = this.queue
      if (block === undefined) break
      if (port.queued + length > this.#portBytes) {
        this.#timer ??= this.#clock.after(MEDIUM_POLL_MS, () => {
          this.#timer = undefined
          this.transmit()
        })
        break
      }
      block.pin()
      port.send(block, offset, length, to)
      this.sent()
    }
    this.feedIfWorthIt()
  }

  #arrived(bytes: Uint8Array, from: IpEndpoint): void {
    const { sink } = this
    const peer = this.#peer
    if (peer !== undefined && (from.port !== peer.port || from.ip !== peer.ip)) {
      this.drop('stranger')
    } else if (this.#paused || sink === undefined) this.drop('paused')
    else if (bytes.length > this.longestFrame) this.drop('oversize')
    else {
      const inbox = this.#inbox
      const block = inbox.reserve(bytes.length)
      if (block === undefined) {
        this.drop('no-memory')
        return
      }
      const { offset } = inbox
      block.bytes.set(bytes, offset)
      inbox.advance(bytes.length)
      if (peer === undefined) {
        this.#peer = from
        this.feed()
      }
      this.receive(block, offset, bytes.length)
      sink.batchEnd()
    }
  }
}

/** A link over a bound datagram port, which it owns from now on. */
export function datagramLink(port: DatagramPort, options: DatagramLinkOptions = {}): DatagramLink {
  return new UdpLink(port, options)
}
