/**
 * A link over a channel of messages: one message is one frame. WebSocket (websockproxy, v86's relays) and MessagePort (an
 * emulator in a worker).
 *
 * ```
 *   port ── message = frame ──▶ sink (frame, batchEnd)      the message's own memory, no copy
 *   port ◀── send(bytes) × n ── flush                       port.queued over its bound: the rest waits, asked every ms
 * ```
 *
 * A MessagePort does not say how much its peer has not taken: credit then is endless, and what bounds the memory is the
 * peer's TCP window. Messages that come while the link is paused are dropped, since they cannot be asked to wait.
 */

import { Block, NetkitError, systemClock } from '@netkit/core'
import type { Clock, Timer } from '@netkit/core'
import type { FrameLink } from '../frame-link.ts'
import { DEFAULT_MTU_BYTES, LINK_QUEUE_BYTES, MEDIUM_POLL_MS } from '../limits.ts'
import { PacketLink } from './packet-link.ts'

/** What carries messages. */
export interface FramePort {
  /** Sends one message. The bytes are the port's only during the call. */
  send(bytes: Uint8Array): void
  /** Bytes that were sent and did not leave yet; 0 where that is unknown. */
  readonly queued: number
  /** Runs for each message; its bytes are never changed afterwards. One listener. */
  onMessage(run: (bytes: Uint8Array) => void): void
  /** Runs when the channel has ended. One listener. */
  onClose(run: (cause?: unknown) => void): void
  close(): void
}

/** Options of `messageLink`. */
export interface MessageLinkOptions {
  /** Default 1500. */
  mtu?: number
  clock?: Clock
  /** Bytes that may wait before there is no more credit. Default 1 MiB. */
  queueBytes?: number
}

class PortLink extends PacketLink {
  readonly #port: FramePort
  readonly #clock: Clock
  readonly #portBytes: number
  #paused = false
  #timer: Timer | undefined

  constructor(port: FramePort, options: MessageLinkOptions) {
    super(options.mtu ?? DEFAULT_MTU_BYTES, options.queueBytes)
    this.#port = port
    this.#clock = options.clock ?? systemClock
    this.#portBytes = options.queueBytes ?? LINK_QUEUE_BYTES
    port.onMessage((bytes) => this.#arrived(bytes))
    port.onClose((cause) =>
      this.#end(
        new NetkitError(
          'NETKIT_LINK_PEER_CLOSED',
          'The channel that carried the frames was closed.',
          {
            cause,
          },
        ),
      ),
    )
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
  }

  close(): Promise<void> {
    if (this.state !== 'closed') {
      this.#end(undefined)
      this.#port.close()
    }
    return Promise.resolve()
  }

  protected transmit(): void {
    while (this.flushed > 0 && this.state === 'up') {
      const { block, offset, length } = this.queue
      if (block === undefined) break
      if (this.#port.queued + length > this.#portBytes) {
        this.#timer ??= this.#clock.after(MEDIUM_POLL_MS, () => {
          this.#timer = undefined
          this.transmit()
        })
        break
      }
      this.#port.send(block.bytes.subarray(offset, offset + length))
      this.sent()
    }
    this.feedIfWorthIt()
  }

  #arrived(bytes: Uint8Array): void {
    const { sink } = this
    if (this.state !== 'up') return
    if (this.#paused || sink === undefined) this.drop('paused')
    else {
      this.receive(new Block(bytes), 0, bytes.length)
      sink.batchEnd()
    }
  }

  #end(cause: NetkitError | undefined): void {
    this.#timer?.cancel()
    this.enter('closed', cause)
    this.dropQueued()
  }
}

/** A link over a channel of messages, which it owns from now on. */
export function messageLink(port: FramePort, options: MessageLinkOptions = {}): FrameLink {
  return new PortLink(port, options)
}

/** The part of the DOM's and Node's MessagePort, or of a Worker, that is used. */
export interface MessagePortLike {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void
  addEventListener(type: 'message' | 'close', run: (event: object) => void): void
  /** Ports need it, workers do not have it. */
  start?(): void
  close?(): void
}

/** A MessagePort (of a worker, of a `MessageChannel`) as a channel of frames. Each frame is copied once and transferred. */
export function messagePort(port: MessagePortLike): FramePort {
  return {
    queued: 0,
    send(bytes) {
      const copy = bytes.slice()
      port.postMessage(copy, [copy.buffer])
    },
    onMessage(run) {
      port.addEventListener('message', (event) => deliver(event, run))
      port.start?.()
    },
    onClose(run) {
      port.addEventListener('close', () => run())
    },
    close: () => port.close?.(),
  }
}

/** The part of a WebSocket that is used. */
export interface WebSocketLike {
  binaryType: string
  readonly bufferedAmount: number
  send(data: Uint8Array<ArrayBuffer>): void
  close(): void
  addEventListener(type: 'message' | 'close', run: (event: object) => void): void
}

/** An open WebSocket as a channel of frames: one binary message is one frame; text messages are ignored. */
export function webSocketPort(socket: WebSocketLike): FramePort {
  socket.binaryType = 'arraybuffer'
  return {
    get queued() {
      return socket.bufferedAmount
    },
    // A copy: an implementation may keep the view until the bytes have left.
    send: (bytes) => socket.send(bytes.slice()),
    onMessage(run) {
      socket.addEventListener('message', (event) => deliver(event, run))
    },
    onClose(run) {
      socket.addEventListener('close', run)
    },
    close: () => socket.close(),
  }
}

function deliver(event: object, run: (bytes: Uint8Array) => void): void {
  const { data } = event as { data: unknown }
  if (data instanceof ArrayBuffer) run(new Uint8Array(data))
  else if (ArrayBuffer.isView(data))
    run(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
}
