/**
 * One TCP against a scripted peer: tests that read as the segments they are about.
 *
 * ```ts
 * const script = SegmentScript.established()
 * script.send(tcp({ data: 'hello' }))
 * script.expect(tcp({ flags: 'A', seq: 1, ack: 6 }))
 * ```
 *
 * Sequence and acknowledgment numbers are relative: 0 is the SYN of the stream in question, 1 its first byte. `expect` names all
 * segments that have left since, in order; of each, only what is named is compared.
 */

import { Block, blockOf, seededRandom } from '@netkit/core'
import {
  TCP_HEADER_LENGTH,
  TcpOptions,
  TcpView,
  encodeTcp,
  tcpOptionsLength,
  writeTcpOptions,
} from '@netkit/frames'
import { ByteBudget, type TcpConnection, type TcpSettings } from '../../src/tcp/index.ts'
import { CheckingReader } from './recorder.ts'
import {
  type SegmentText,
  describeSegment,
  flagBits,
  readSegment,
  segmentMatches,
} from './segment-text.ts'
import { SimulatedHost } from './simulated-host.ts'
import { VirtualClock } from './virtual-clock.ts'

export { type SegmentText, tcp } from './segment-text.ts'

/** How the script is set up. */
export interface SegmentScriptOptions {
  readonly settings?: TcpSettings
  /** Initial sequence numbers of ours and the peer's. */
  readonly iss?: number
  readonly irs?: number
  readonly mss?: number
  readonly lossless?: boolean
  /** What the peer's SYN says. */
  readonly syn?: SegmentText
  /** The peer's address. */
  readonly peer?: string
  /** No consumer reads. */
  readonly unread?: boolean
}

/** The script. */
export class SegmentScript {
  readonly clock: VirtualClock = new VirtualClock()
  readonly budget: ByteBudget = new ByteBudget(16 * 1024 * 1024)
  readonly host: SimulatedHost
  readonly #irs: number
  readonly #iss: number
  readonly #left: SegmentText[] = []
  readonly #options: SegmentScriptOptions
  #connection: TcpConnection | undefined
  reader: CheckingReader | undefined
  /** What the peer sends next, unless told otherwise, and has acknowledged. */
  #next = 0
  #acknowledged = 0

  constructor(options: SegmentScriptOptions = {}) {
    this.#options = options
    this.#irs = options.irs ?? 1_000_000
    this.#iss = options.iss ?? 5_000_000
    this.host = new SimulatedHost({
      clock: this.clock,
      random: seededRandom(1),
      local: { ip: '198.18.0.1', port: 80 },
      remote: { ip: options.peer ?? '198.18.0.2', port: 40_000 },
      mss: options.mss ?? 1460,
      lossless: options.lossless ?? false,
      tcp: { budget: this.budget, ...options.settings },
      isn: this.#iss,
      timestampOffset: 7000,
      send: (bytes) => {
        this.#left.push(readSegment(bytes, this.#iss, this.#irs))
      },
    })
    this.host.accept = (connection) => this.#adopt(connection)
  }

  /** A peer that has connected to us: the three segments of the handshake are over. */
  static established(options: SegmentScriptOptions = {}): SegmentScript {
    const script = new SegmentScript(options)
    script.send({ flags: 'S', mss: 1460, ...options.syn })
    script.take()
    const { timestamps = false } = options.syn ?? {}
    script.send({ ack: 1, timestamps })
    script.take()
    return script
  }

  get connection(): TcpConnection {
    if (this.#connection === undefined) throw new Error('There is no connection yet.')
    return this.#connection
  }

  get stream(): TcpConnection['stream'] {
    return this.connection.stream
  }

  #adopt(connection: TcpConnection): void {
    this.#connection = connection
    if (this.#options.unread !== true) this.reader = new CheckingReader(connection.stream, 0)
  }

  /** We connect to the peer. */
  connect(): void {
    this.#adopt(this.host.connect())
    this.settle()
  }

  /** Bytes written by our application. */
  write(data: string | number): void {
    const block = blockOf(typeof data === 'string' ? data : new Uint8Array(data).fill(0x78))
    this.stream.write(block, 0, block.length)
    this.settle()
  }

  /** The peer sends these as one batch. */
  send(...segments: SegmentText[]): void {
    this.host.batch(segments.map((segment) => this.#write(segment)))
    this.settle()
  }

  /** Lets happen what happens at once. */
  settle(): void {
    this.clock.advance(0)
  }

  /** Time passes. */
  advance(ms: number): void {
    this.clock.advance(ms)
  }

  /** What has left since the last look, all of it. */
  take(): SegmentText[] {
    this.settle()
    return this.#left.splice(0)
  }

  /** Exactly these have left since the last look. */
  expect(...expected: SegmentText[]): void {
    const actual = this.take()
    const matches =
      actual.length === expected.length &&
      expected.every((segment, i) => segmentMatches(segment, actual[i]))
    if (matches) return
    throw new Error(`Expected\n${listed(expected)}\nbut there left\n${listed(actual)}`)
  }

  #write(segment: SegmentText): Uint8Array<ArrayBuffer> {
    const data =
      segment.data === undefined
        ? new Uint8Array(segment.length ?? 0).fill(0x78)
        : new TextEncoder().encode(segment.data)
    const letters = segment.flags ?? 'A'
    const flags = flagBits(letters)
    const options = new TcpOptions()
    options.mss = segment.mss ?? 0
    options.windowScale = segment.windowScale ?? -1
    options.sackPermitted = segment.sackPermitted ?? false
    const { timestamps } = segment
    if (typeof timestamps === 'object') {
      options.hasTimestamps = true
      ;[options.timestampValue, options.timestampEcho] = timestamps
    }
    for (const [left, right] of segment.sack ?? []) {
      options.sackLeft[options.sackCount] = this.#iss + left
      options.sackRight[options.sackCount++] = this.#iss + right
    }
    const raw = segment.rawOptions
    const optionsLength = raw?.length ?? tcpOptionsLength(options)
    const seq = segment.seq ?? this.#next
    this.#acknowledged = segment.ack ?? this.#acknowledged
    const block = new Block(new Uint8Array(TCP_HEADER_LENGTH + optionsLength + data.length))
    encodeTcp(
      {
        sourcePort: 0,
        destinationPort: 0,
        sequence: (this.#irs + seq) >>> 0,
        acknowledgment: letters.includes('A') ? (this.#iss + this.#acknowledged) >>> 0 : 0,
        flags,
        window: segment.window ?? 65_535,
        optionsLength,
      },
      block,
      0,
    )
    if (raw === undefined) writeTcpOptions(options, block, TCP_HEADER_LENGTH)
    else block.bytes.set(raw, TCP_HEADER_LENGTH)
    block.bytes.set(data, TCP_HEADER_LENGTH + optionsLength)
    new TcpView().at(block, 0, block.length).fillChecksum(0)
    if (segment.seq === undefined) {
      this.#next += data.length + (letters.includes('S') ? 1 : 0) + (letters.includes('F') ? 1 : 0)
    }
    return block.bytes as Uint8Array<ArrayBuffer>
  }
}

function listed(segments: readonly SegmentText[]): string {
  if (segments.length === 0) return '  nothing'
  return segments.map((segment) => `  ${describeSegment(segment)}`).join('\n')
}
