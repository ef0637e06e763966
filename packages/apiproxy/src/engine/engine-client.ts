/**
 * Our own questions to the engine, each on a connection of its own so that none waits for another.
 *
 * Asked as HTTP/1.0: the engine then neither chunks its answer nor keeps the connection, and the answer is what comes until FIN
 * (RFC 9112 7.1.2, 9.3).
 */

import { chunks, NetkitError, writeAll } from '@netkit/core'
import type { ByteStream } from '@netkit/core'
import { HeadReader, ResponseHead, parseResponseHead } from '@netkit/core/http'
import { CONTROL_CALL_MS, EVENT_BYTES, INSPECTED_RESPONSE_BYTES } from '../limits.ts'
import type { EngineDialer } from './engine-dialer.ts'

/** What the engine answered. */
export interface EngineAnswer {
  readonly status: number
  /** The JSON, or `undefined` where there was none. */
  readonly json: unknown
}

/** Asks the engine. */
export class EngineClient {
  readonly #engine: EngineDialer

  constructor(engine: EngineDialer) {
    this.#engine = engine
  }

  /** One call. @throws when there is no engine, or no answer in time. */
  async call(method: string, path: string, signal?: AbortSignal): Promise<EngineAnswer> {
    const limit = new AbortController()
    const timer = this.#engine.clock.after(CONTROL_CALL_MS, () => limit.abort())
    const both = signal === undefined ? limit.signal : AbortSignal.any([signal, limit.signal])
    try {
      const { head, body, stream } = await this.#open(method, path, both)
      const parts: Uint8Array[] = []
      let length = 0
      for await (const part of body) {
        length += part.length
        if (length > INSPECTED_RESPONSE_BYTES) {
          stream.reset()
          throw unusable(path, 'its answer is too large')
        }
        parts.push(part)
      }
      stream.end()
      return { status: head.status, json: parseJson(parts) }
    } finally {
      timer.cancel()
    }
  }

  /**
   * Follows a stream of JSON lines until it ends.
   *
   * @param opened - Runs when the engine has begun to answer; lines come after it.
   */
  async follow(
    path: string,
    opened: () => void,
    line: (json: unknown) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { head, body, stream } = await this.#open('GET', path, signal)
    if (head.status !== 200) {
      stream.reset()
      throw unusable(path, `it answered ${head.status}`)
    }
    opened()
    const decoder = new TextDecoder()
    let text = ''
    for await (const part of body) {
      text += decoder.decode(part, { stream: true })
      const lines = text.split('\n')
      text = lines.pop() ?? ''
      for (const one of lines) if (one.trim() !== '') line(JSON.parse(one))
      if (text.length > EVENT_BYTES) {
        stream.reset()
        throw unusable(path, 'an event is too large')
      }
    }
    stream.end()
  }

  async #open(
    method: string,
    path: string,
    signal: AbortSignal,
  ): Promise<{ head: ResponseHead; body: AsyncGenerator<Uint8Array>; stream: ByteStream }> {
    const stream = await this.#engine.connect(signal)
    const aborted = (): void => stream.reset()
    signal.addEventListener('abort', aborted, { once: true })
    void stream.closed.then(() => signal.removeEventListener('abort', aborted))
    await writeAll(
      stream,
      `${method} ${path} HTTP/1.0\r\nHost: netkit\r\nUser-Agent: netkit\r\nContent-Length: 0\r\n\r\n`,
    )
    const heads = new HeadReader(parseResponseHead)
    const source = chunks(stream)
    for await (const part of { [Symbol.asyncIterator]: () => withoutReturn(source) }) {
      const head = heads.push(part)
      if (head === undefined) continue
      if (head instanceof ResponseHead)
        return { head, body: after(part.subarray(heads.consumed), source), stream }
      break
    }
    stream.reset()
    throw unusable(path, 'its answer is not HTTP')
  }
}

/** The iterator goes on after the loop that took the head from it. */
function withoutReturn<T>(source: AsyncGenerator<T>): AsyncIterator<T> {
  return { next: () => source.next() }
}

async function* after(
  first: Uint8Array,
  rest: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (first.length > 0) yield first
  yield* rest
}

function parseJson(parts: readonly Uint8Array[]): unknown {
  const decoder = new TextDecoder()
  const text = parts.map((part) => decoder.decode(part, { stream: true })).join('')
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

function unusable(path: string, why: string): NetkitError {
  return new NetkitError(
    'NETKIT_ENGINE_ANSWER',
    `The container engine was asked for ${path}, and ${why}. Check that the endpoint is a Docker Engine API.`,
  )
}
