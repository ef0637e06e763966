/**
 * One run of two TCPs against each other over a faulty wire in virtual time, as data: the same parameters give the same segments.
 *
 * ```
 *   hosts[0] ──── links[0] + faults ────▶ hosts[1]       hosts[0] connects, hosts[1] accepts
 *            ◀─── links[1] + faults ─────                both write, end and read at their own pace
 * ```
 */

import { seededRandom } from '@netkit/core'
import { ByteBudget, type TcpConnection, type TcpSettings } from '../../src/tcp/index.ts'
import { type Fault, FaultLink } from './fault-link.ts'
import { CheckingReader, patternBlock } from './recorder.ts'
import { SimulatedHost } from './simulated-host.ts'
import { VirtualClock } from './virtual-clock.ts'

/** What one end does. */
export interface EndParameters {
  readonly isn: number
  readonly timestampOffset: number
  readonly tcp: TcpSettings
  /** Bytes it writes before it ends. */
  readonly bytes: number
  /** Bytes per write, and the pause between two writes. */
  readonly writeBytes: number
  readonly writeEveryMs: number
  /** Bytes it reads per 10 `ms`; `null`: all there are. */
  readonly readPer10Ms: number | null
  /** When it throws the connection away; `null`: never. */
  readonly resetAtMs: number | null
  /** Faults of the direction that leaves this end. */
  readonly faults: readonly Fault[]
}

/** A whole run. */
export interface ScenarioParameters {
  readonly name: string
  readonly seed: number
  readonly mss: number
  readonly delayMs: number
  readonly batchMs: number
  readonly lossless: boolean
  readonly ends: readonly [EndParameters, EndParameters]
  /** Whether the faults can be such that giving up is honest. */
  readonly mayTimeOut: boolean
}

/** How a run went. */
export interface ScenarioResult {
  readonly outcome: 'complete' | 'timeout' | 'failed'
  /** What must not be; empty unless `failed`. */
  readonly problems: readonly string[]
  /** When both consumers had everything. */
  readonly elapsedMs: number
  readonly retransmits: number
  readonly timeouts: number
  readonly segments: number
}

/** Segments per segment's worth of data from where on two ends are talking about nothing. */
const STORM_FACTOR = 30

/** Virtual time after which a run that has not ended hangs. */
const LIMIT_MS = 3 * 3_600_000

/** One end at work. */
class Player {
  readonly host: SimulatedHost
  readonly #parameters: EndParameters
  readonly #clock: VirtualClock
  readonly #seed: number
  readonly #peerSeed: number
  reader: CheckingReader | undefined
  connection: TcpConnection | undefined
  written = 0

  constructor(
    host: SimulatedHost,
    parameters: EndParameters,
    clock: VirtualClock,
    seeds: readonly [number, number],
  ) {
    this.host = host
    this.#parameters = parameters
    this.#clock = clock
    ;[this.#seed, this.#peerSeed] = seeds
    host.monitor.draining = parameters.readPer10Ms === null
  }

  /** Out of the table, and with nothing left for the reader. */
  get isDone(): boolean {
    const inOrder = this.connection?.snapshot().closed?.kind === 'fin'
    return this.host.connection === undefined && (!inOrder || this.reader?.ended === true)
  }

  play(connection: TcpConnection): void {
    this.connection = connection
    const { readPer10Ms } = this.#parameters
    this.reader = new CheckingReader(connection.stream, this.#peerSeed, {
      appetite: readPer10Ms ?? Infinity,
    })
    if (readPer10Ms !== null) this.#feedReader(readPer10Ms)
    this.#write()
    const { resetAtMs } = this.#parameters
    if (resetAtMs !== null) this.#clock.after(resetAtMs, () => connection.stream.reset())
  }

  #feedReader(bytes: number): void {
    this.#clock.after(10, () => {
      this.reader?.allow(bytes)
      if (this.connection?.snapshot().closed === undefined || !this.reader?.ended) {
        if (this.#clock.now() < LIMIT_MS) this.#feedReader(bytes)
      }
    })
  }

  #write(): void {
    const { bytes, writeBytes, writeEveryMs } = this.#parameters
    const stream = this.connection?.stream
    if (stream === undefined || this.connection?.snapshot().closed !== undefined) return
    while (this.written < bytes) {
      const length = Math.min(writeBytes, bytes - this.written)
      stream.write(patternBlock(this.#seed, this.written, length), 0, length)
      this.written += length
      if (writeEveryMs > 0) {
        this.#clock.after(writeEveryMs, () => this.#write())
        return
      }
    }
    stream.end()
  }
}

/** Runs it. `trace` is told of each segment that an end sends. */
export function runScenario(
  parameters: ScenarioParameters,
  trace?: (atMs: number, end: number, segment: Uint8Array) => void,
): ScenarioResult {
  const clock = new VirtualClock()
  const random = seededRandom(parameters.seed)
  const budgets = [new ByteBudget(64 * 1024 * 1024), new ByteBudget(64 * 1024 * 1024)] as const
  const links: FaultLink[] = []
  const [first, second] = ([0, 1] as const).map((index) => {
    const end = parameters.ends[index]
    const host = new SimulatedHost({
      clock,
      random: random.fork(`host-${index}`),
      local: { ip: '198.18.0.1', port: 1000 + index },
      remote: { ip: '198.18.0.1', port: 1001 - index },
      mss: parameters.mss,
      lossless: parameters.lossless,
      tcp: { ...end.tcp, budget: budgets[index] },
      isn: end.isn,
      timestampOffset: end.timestampOffset,
      send: (segment) => {
        trace?.(clock.now(), index, segment)
        links[index]?.send(segment)
      },
    })
    return new Player(host, end, clock, index === 0 ? [1, 2] : [2, 1])
  })
  if (first === undefined || second === undefined) throw new Error('A scenario has two ends.')
  const players = [first, second]
  for (const [index, to] of [second, first].entries()) {
    links.push(
      new FaultLink({
        clock,
        random: random.fork(`link-${index}`),
        delayMs: parameters.delayMs,
        batchMs: parameters.batchMs,
        faults: parameters.ends[index === 0 ? 0 : 1].faults,
        deliver: (batch) => to.host.batch(batch),
      }),
    )
  }
  second.host.accept = (connection) => {
    second.host.accept = undefined
    second.play(connection)
  }
  first.play(first.host.connect())

  const hasAll = (): boolean =>
    first.reader?.ended === true &&
    second.reader?.ended === true &&
    first.connection?.snapshot().closed !== undefined &&
    second.connection?.snapshot().closed !== undefined
  const over = (): boolean =>
    hasAll() ||
    players.every(({ host, connection }) =>
      connection === undefined ? false : host.connection === undefined,
    )
  const refused = (): boolean =>
    first.connection?.snapshot().closed !== undefined && second.connection === undefined
  const [one, two] = parameters.ends
  const worth = [one, two].reduce(
    (sum, { bytes, writeBytes }) => sum + bytes / Math.min(parameters.mss, writeBytes),
    1000,
  )
  const storms = (): boolean => (links[0]?.sent ?? 0) + (links[1]?.sent ?? 0) > STORM_FACTOR * worth
  clock.runUntil(() => over() || refused() || storms(), LIMIT_MS)
  const elapsedMs = clock.now()
  // TIME-WAIT, and what the slow reader still has to fetch.
  clock.runUntil(() => players.every((player) => player.isDone), 600_000)
  clock.advance(1000)
  const snapshots = players.map(({ connection }) => connection?.snapshot())
  const problems = judge(parameters, players)
  if (storms()) problems.push('the ends answer each other without end')
  for (const [index, { host }] of players.entries()) {
    const held = {
      timers: host.timers.armed,
      blocks: host.blocks.out + host.linkBlocksHeld,
      bytes: budgets[index]?.used ?? 0,
      connections: host.connection === undefined ? 0 : 1,
    }
    if (Object.values(held).some((count) => count !== 0)) {
      problems.push(`end ${index} still holds ${JSON.stringify(held)}`)
    }
  }
  const complete = players.every(({ reader }) => reader?.ended)
  return {
    outcome: problems.length > 0 ? 'failed' : complete ? 'complete' : 'timeout',
    problems,
    elapsedMs,
    retransmits: snapshots.reduce((sum, snapshot) => sum + (snapshot?.retransmits ?? 0), 0),
    timeouts: snapshots.reduce((sum, snapshot) => sum + (snapshot?.timeouts ?? 0), 0),
    segments: links.reduce((sum, link) => sum + link.sent, 0),
  }
}

/** What is wrong with how it ended. */
function judge(parameters: ScenarioParameters, players: readonly Player[]): string[] {
  const problems: string[] = []
  const closed = players.map(({ connection }) => connection?.snapshot().closed)
  // Whoever has given up, or thrown away, leaves the other to find out.
  const gaveUp = closed.some((reason) => reason?.kind === 'timeout')
  const thrownAway = parameters.ends.some(({ resetAtMs }) => resetAtMs !== null)
  for (const [index, { reader, host, connection }] of players.entries()) {
    const reason = closed[index]
    const expected = parameters.ends[index === 0 ? 1 : 0].bytes
    if (reader !== undefined && reader.wrongAt >= 0) {
      problems.push(`end ${index} read a wrong byte at ${reader.wrongAt}`)
    }
    if (reader !== undefined && reader.received > expected) {
      problems.push(`end ${index} read ${reader.received} bytes of ${expected}`)
    }
    if (reader?.ended && reader.received !== expected) {
      problems.push(`end ${index} saw the end after ${reader.received} of ${expected} bytes`)
    }
    // Whoever throws the connection away throws away what it has not read.
    const discards = parameters.ends[index === 0 ? 0 : 1].resetAtMs !== null
    if (reason?.kind === 'fin' && !reader?.ended && !discards) {
      problems.push(`end ${index} closed in order without having seen the end`)
    }
    if (connection !== undefined && reason === undefined) {
      const { state, queued, unread } = connection.snapshot()
      problems.push(`end ${index} hangs in ${state} (queued ${queued}, unread ${unread})`)
    }
    // A peer that was done, and out of TIME-WAIT before its last ACK got through, answers with RST.
    const forgotten =
      parameters.mayTimeOut && reason?.kind === 'reset' && closed[1 - index]?.kind === 'fin'
    if (!gaveUp && !thrownAway && reason?.kind !== 'fin' && !forgotten) {
      problems.push(`end ${index} ended by ${reason?.kind ?? 'nothing'} although nobody gave up`)
    }
    if (reason?.kind === 'timeout' && !parameters.mayTimeOut && !thrownAway) {
      problems.push(`end ${index} gave up`)
    }
    if (host.monitor.violation !== undefined) {
      problems.push(`end ${index} ${host.monitor.violation}`)
    }
  }
  return problems
}
