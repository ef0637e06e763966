/**
 * A small TCP, for one connection of a scripted guest: correct on a clean link, able to recover on a bad one, and nothing else.
 *
 * ```
 *   write() ─▶ #sendQueue ─[una … nxt … window]─▶ segment out
 *   read()  ◀─ #received  ◀─ in order only ◀───── segment in;  one ACK per batch of frames
 * ```
 *
 * Out-of-order segments are not kept: the duplicate ACK asks for them again. Lost ones go again after three duplicate ACKs or a
 * time-out, all from the first unacknowledged byte (go-back-N). It shares no code with netkit's TCP, on purpose.
 */

import { randomInt } from 'node:crypto'
import type { ConnectionEnd } from '../guest-tools.ts'
import { FLAG, type TcpSegment } from './wire.ts'

const WINDOW_SCALE = 6
/** Bytes received and not yet read, at most. */
const RECEIVE_BYTES = 1 << 20
/** Bytes written and not yet acknowledged, at most. */
const SEND_BYTES = 1 << 20
/** RFC 6298 (2.1): 1 s until a round trip was measured; here nobody measures. */
const RETRANSMIT_MS = 1000
const RETRANSMIT_LIMIT = 12
const NO_BYTES = Buffer.alloc(0)

/** `a - b` of two sequence numbers. */
const distance = (a: number, b: number): number => (a - b) | 0

/** What a connection needs of its host. */
export interface TcpHost {
  readonly mss: number
  /** Sends a segment; the host adds the ports. */
  send(segment: Omit<TcpSegment, 'fromPort' | 'toPort'>): void
  /** Whether the link takes more right now; `resume()` is called when it does again. */
  readonly canSend: boolean
  /** The connection is over; its ports are free. */
  closed(): void
}

/** One connection. */
export class TcpConnection {
  readonly #host: TcpHost
  #state: 'syn-sent' | 'syn-received' | 'open' | 'closed'
  readonly #sendQueue: Buffer[] = []
  #queued = 0
  #una: number
  #nxt: number
  /** The highest `#nxt` so far: after going back, the peer may acknowledge more than was sent again. */
  #max: number
  #peerWindow = 0
  #peerScale = 0
  #mss: number
  #finQueued = false
  #finAcked = false
  #duplicates = 0
  #retransmits = 0
  #timer: NodeJS.Timeout | undefined

  #rcvNxt = 0
  readonly #received: Buffer[] = []
  #receivedBytes = 0
  #finReceived = false
  #ackDue = false
  #advertised = 0

  /** How the connection ended for a reader: `ok` until something else happened. */
  end: ConnectionEnd = 'ok'
  /** Segments that had to be sent again. */
  retransmitted = 0
  #wake: (() => void)[] = []

  constructor(host: TcpHost, from?: TcpSegment) {
    this.#host = host
    this.#mss = host.mss
    this.#una = randomInt(2 ** 32) | 0
    this.#nxt = (this.#una + 1) | 0
    this.#max = this.#nxt
    if (from) {
      this.#state = 'syn-received'
      this.#rcvNxt = (from.seq + 1) | 0
      this.#takeOptions(from)
    } else {
      this.#state = 'syn-sent'
    }
    this.#sendSyn()
    this.#arm()
  }

  /** Resolves once the connection stands or has failed (see `end`). */
  async opened(): Promise<boolean> {
    while (this.#state === 'syn-sent' || this.#state === 'syn-received') await this.#change()
    return this.#state === 'open'
  }

  /** The next bytes, or `undefined` at the end of file or after a failure (see `end`). */
  async read(): Promise<Buffer | undefined> {
    for (;;) {
      const bytes = this.#received.shift()
      if (bytes) {
        this.#receivedBytes -= bytes.length
        // The window has grown by enough to be worth saying.
        if (this.#window() - this.#advertised > RECEIVE_BYTES / 4) this.#sendAck()
        return bytes
      }
      if (this.#finReceived || this.#state === 'closed') return undefined
      await this.#change()
    }
  }

  /** Resolves when there is room for more; `false` when the connection is gone. */
  async write(bytes: Buffer): Promise<boolean> {
    while (this.#queued > SEND_BYTES && this.#state !== 'closed') await this.#change()
    if (this.#state === 'closed') return false
    this.#sendQueue.push(bytes)
    this.#queued += bytes.length
    this.resume()
    return true
  }

  /** FIN after what was written; the other direction lives on. */
  finish(): void {
    this.#finQueued = true
    this.resume()
  }

  /** RST. */
  abort(): void {
    if (this.#state === 'closed') return
    this.#send(FLAG.rst | FLAG.ack, this.#nxt, NO_BYTES)
    this.#close('reset')
  }

  /** Resolves when both directions have ended. */
  async closed(): Promise<void> {
    while (this.#state !== 'closed') await this.#change()
  }

  /** The network said that the peer cannot be reached. Only an attempt to connect fails of that (RFC 9293 3.9.2.2). */
  unreachable(): void {
    if (this.#state === 'syn-sent') this.#close('unreachable')
  }

  segment(segment: TcpSegment): void {
    if (this.#state === 'closed') return
    if (segment.flags & FLAG.rst) {
      if (this.#state === 'syn-sent' ? segment.ack === this.#nxt >>> 0 : this.#acceptable(segment))
        this.#close(this.#state === 'syn-sent' ? 'refused' : 'reset')
      return
    }
    if (this.#state === 'syn-sent') {
      const isSynAck = (segment.flags & (FLAG.syn | FLAG.ack)) === (FLAG.syn | FLAG.ack)
      if (!isSynAck || segment.ack !== this.#nxt >>> 0) return
      this.#rcvNxt = (segment.seq + 1) | 0
      this.#takeOptions(segment)
      this.#open(segment)
      this.#sendAck()
      this.resume()
      return
    }
    if (segment.flags & FLAG.syn) {
      // The SYN of a peer that has not seen our SYN-ACK, or an old one.
      if (this.#state === 'syn-received') this.#sendSyn()
      else this.#sendAck()
      return
    }
    if (!(segment.flags & FLAG.ack)) return
    if (this.#state === 'syn-received') {
      if (segment.ack !== this.#nxt >>> 0) return
      this.#open(segment)
    }
    this.#acknowledge(segment)
    this.#take(segment)
    this.resume()
  }

  /** The frames of one read were all handed over. */
  batchEnd(): void {
    if (this.#ackDue) this.#sendAck()
  }

  /** Sends what the window allows. */
  resume(): void {
    if (this.#state !== 'open') return
    for (;;) {
      if (!this.#host.canSend) return
      // FIN counts as one byte after the last one.
      const inFlight = distance(this.#nxt, this.#una)
      const left = this.#queued - inFlight
      const length = Math.min(left, this.#mss, this.#peerWindow - inFlight)
      if (length > 0) {
        const push = length === left ? FLAG.psh : 0
        this.#send(FLAG.ack | push, this.#nxt, this.#slice(inFlight, length))
        this.#advance(length)
      } else if (this.#finQueued && !this.#finAcked && left === 0) {
        this.#send(FLAG.fin | FLAG.ack, this.#nxt, NO_BYTES)
        this.#advance(1)
      } else {
        // A closed window is probed by the timer.
        if (left > 0) this.#arm()
        return
      }
    }
  }

  #advance(length: number): void {
    this.#nxt = (this.#nxt + length) | 0
    if (distance(this.#nxt, this.#max) > 0) this.#max = this.#nxt
    this.#arm()
  }

  #window(): number {
    return Math.max(0, RECEIVE_BYTES - this.#receivedBytes)
  }

  #takeOptions(syn: TcpSegment): void {
    this.#mss = Math.min(this.#host.mss, syn.mss ?? 536)
    this.#peerScale = syn.windowScale ?? 0
    // A peer without the option does not scale ours either; what we then offer is just smaller.
  }

  #open(segment: TcpSegment): void {
    this.#state = 'open'
    this.#una = segment.ack | 0
    this.#peerWindow = segment.flags & FLAG.syn ? segment.window : segment.window << this.#peerScale
    this.#settleTimer()
    this.#notify()
  }

  #acceptable(segment: TcpSegment): boolean {
    const offset = distance(segment.seq, this.#rcvNxt)
    return offset >= 0 && offset <= RECEIVE_BYTES
  }

  #acknowledge(segment: TcpSegment): void {
    const acked = distance(segment.ack, this.#una)
    const inFlight = distance(this.#nxt, this.#una)
    const window = segment.window << this.#peerScale
    if (acked > distance(this.#max, this.#una)) return
    if (acked > 0) {
      if (acked > this.#queued) this.#finAcked = true
      this.#drop(Math.min(acked, this.#queued))
      this.#una = segment.ack | 0
      if (distance(this.#nxt, this.#una) < 0) this.#nxt = this.#una
      this.#duplicates = 0
      this.#retransmits = 0
      this.#settleTimer()
      this.#notify()
    } else if (
      acked === 0 &&
      segment.payload.length === 0 &&
      inFlight > 0 &&
      window === this.#peerWindow
    ) {
      if (++this.#duplicates === 3) this.#goBack()
    }
    if (acked >= 0) this.#peerWindow = window
    this.#closeIfDone()
  }

  #take(segment: TcpSegment): void {
    const fin = (segment.flags & FLAG.fin) !== 0
    if (segment.payload.length === 0 && !fin) return
    this.#ackDue = true
    const skip = distance(this.#rcvNxt, segment.seq)
    if (this.#finReceived || skip < 0 || skip > segment.payload.length) return
    const fresh = segment.payload.subarray(skip)
    if (fresh.length > this.#window()) return
    if (fresh.length > 0) {
      this.#received.push(Buffer.from(fresh))
      this.#receivedBytes += fresh.length
      this.#rcvNxt = (this.#rcvNxt + fresh.length) | 0
    }
    if (fin) {
      this.#finReceived = true
      this.#rcvNxt = (this.#rcvNxt + 1) | 0
    }
    this.#notify()
    if (fin) {
      this.#sendAck()
      this.#closeIfDone()
    }
  }

  #closeIfDone(): void {
    if (this.#finAcked && this.#finReceived) this.#close('ok')
  }

  /** Takes `length` acknowledged bytes from the front of the queue. */
  #drop(length: number): void {
    this.#queued -= length
    for (let left = length; left > 0;) {
      const first = this.#sendQueue[0]
      if (!first) return
      if (first.length > left) {
        this.#sendQueue[0] = first.subarray(left)
        return
      }
      left -= first.length
      this.#sendQueue.shift()
    }
  }

  /** `length` queued bytes from `offset` after the first unacknowledged one. */
  #slice(offset: number, length: number): Buffer {
    let skip = offset
    const parts: Buffer[] = []
    let left = length
    for (const piece of this.#sendQueue) {
      if (skip >= piece.length) {
        skip -= piece.length
        continue
      }
      const part = piece.subarray(skip, skip + left)
      parts.push(part)
      skip = 0
      left -= part.length
      if (left === 0) break
    }
    return parts.length === 1 ? (parts[0] ?? NO_BYTES) : Buffer.concat(parts)
  }

  #send(flags: number, seq: number, payload: Buffer): void {
    this.#ackDue = false
    this.#advertised = this.#window()
    this.#host.send({
      seq,
      ack: this.#rcvNxt,
      flags,
      window: Math.min(0xffff, this.#advertised >> WINDOW_SCALE),
      payload,
    })
  }

  #sendAck(): void {
    if (this.#state === 'open') this.#send(FLAG.ack, this.#nxt, NO_BYTES)
  }

  #sendSyn(): void {
    this.#host.send({
      seq: this.#una,
      ack: this.#rcvNxt,
      flags: FLAG.syn | (this.#state === 'syn-received' ? FLAG.ack : 0),
      window: 0xffff,
      mss: this.#host.mss,
      windowScale: WINDOW_SCALE,
      payload: NO_BYTES,
    })
  }

  #goBack(): void {
    this.retransmitted++
    this.#nxt = this.#una
    this.#duplicates = 0
    this.resume()
  }

  #arm(): void {
    const ms = RETRANSMIT_MS * 2 ** Math.min(this.#retransmits, 4)
    // A timer runs before input that has waited just as long: that input is heard first, and may settle the matter.
    this.#timer ??= setTimeout(() => {
      const late = this.#timer
      setImmediate(() => {
        if (this.#timer === late) this.#late()
      })
    }, ms)
  }

  #settleTimer(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#nxt !== this.#una) this.#arm()
  }

  #late(): void {
    this.#timer = undefined
    if (++this.#retransmits > RETRANSMIT_LIMIT) {
      this.#close('timeout')
      return
    }
    if (this.#state === 'syn-sent' || this.#state === 'syn-received') this.#sendSyn()
    else if (this.#peerWindow === 0 && this.#queued > 0) {
      // Window probe: one byte that the peer will not take, whose answer says its window.
      this.#send(FLAG.ack, this.#una, this.#slice(0, 1))
      // It may be taken after all, when the window has opened meanwhile.
      if (this.#nxt === this.#una) this.#advance(1)
    } else if (this.#nxt !== this.#una) this.#goBack()
    this.#arm()
  }

  #close(end: ConnectionEnd): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.end = end
    clearTimeout(this.#timer)
    this.#host.closed()
    this.#notify()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve))
  }

  #notify(): void {
    const wake = this.#wake
    this.#wake = []
    for (const run of wake) run()
  }
}
