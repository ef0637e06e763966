/** SOCKS5 for clients (RFC 1928): CONNECT without authentication, to names and addresses. */

import { formatIpv4, formatIpv6 } from '@netkit/core'
import type { ByteStream } from '@netkit/core'
import { withDeadline } from './deadline.ts'
import type { ProxyTarget } from './decision.ts'
import { normalHost } from './exceptions.ts'
import { failureOf } from './failure.ts'
import type { FailureCode } from './failure.ts'
import { BODY_QUEUE_BYTES, HEAD_DEADLINE_MS } from './limits.ts'
import { originOf } from './session.ts'
import type { ProxyClient, SessionHost } from './session.ts'
import { StreamReader, StreamWriter } from './stream-reader.ts'
import { runTunnel } from './tunnel.ts'

/** Replies (RFC 1928 6); what is not here is 1, a general failure. */
const REPLIES: Partial<Record<FailureCode, number>> = {
  denied: 2,
  'name-mismatch': 2,
  loop: 2,
  unreachable: 4,
  'name-not-found': 4,
  'name-failed': 4,
  refused: 5,
  timeout: 6,
}

/** Serves one client. Never rejects. */
export async function serveSocks5(
  host: SessionHost,
  stream: ByteStream,
  client: ProxyClient,
): Promise<void> {
  const reader = new StreamReader(stream)
  const writer = new StreamWriter(stream, BODY_QUEUE_BYTES)
  const gone = new AbortController()
  void stream.closed.then(() => gone.abort(new Error('the client has left')))
  const answer = (reply: number): Promise<void> =>
    writer.write(Uint8Array.from([5, reply, 0, 1, 0, 0, 0, 0, 0, 0]))
  try {
    const target = await withDeadline(host.clock, HEAD_DEADLINE_MS, gone.signal, () =>
      readRequest(reader, writer, answer),
    )
    if (target === undefined) {
      stream.end()
      return
    }
    const full = { ...target, ...(client.guest !== undefined && { guest: client.guest }) }
    let isAnswered = false
    try {
      const origin = originOf(host, stream, client, full)
      const way = await host.openTunnel(full, origin, gone.signal)
      await answer(0)
      isAnswered = true
      writer.release()
      await runTunnel(host, reader, way, full, client)
    } catch (error) {
      if (gone.signal.aborted) return
      const failure = failureOf(error, `${target.host}:${target.port}`)
      host.failed(failure, full)
      if (isAnswered) throw error
      await answer(REPLIES[failure.failure] ?? 1)
      stream.end()
    }
  } catch {
    stream.reset()
  }
}

/** The target, or `undefined` when the client was told why there is none. */
async function readRequest(
  reader: StreamReader,
  writer: StreamWriter,
  answer: (reply: number) => Promise<void>,
): Promise<ProxyTarget | undefined> {
  const [version, count = 0] = await reader.exactly(2)
  if (version !== 5) throw new Error('not SOCKS5')
  if (!(await reader.exactly(count)).includes(0)) {
    await writer.write(Uint8Array.from([5, 0xff]))
    return undefined
  }
  await writer.write(Uint8Array.from([5, 0]))
  const [again, command, , kind] = await reader.exactly(4)
  if (again !== 5) throw new Error('not SOCKS5')
  const host = await readAddress(reader, kind)
  if (host === undefined) {
    await answer(8)
    return undefined
  }
  const [high = 0, low = 0] = await reader.exactly(2)
  if (command !== 1) {
    await answer(7)
    return undefined
  }
  const port = high * 256 + low
  const scheme = port === 443 ? 'https' : port === 80 ? 'http' : 'tcp'
  return { scheme, host, port, kind: 'socks' }
}

async function readAddress(
  reader: StreamReader,
  kind: number | undefined,
): Promise<string | undefined> {
  if (kind === 1) {
    const [a = 0, b = 0, c = 0, d = 0] = await reader.exactly(4)
    return formatIpv4(((a << 24) | (b << 16) | (c << 8) | d) >>> 0)
  }
  if (kind === 4) return normalHost(formatIpv6(await reader.exactly(16)))
  if (kind !== 3) return undefined
  const [length = 0] = await reader.exactly(1)
  const name = Buffer.from(await reader.exactly(length)).toString('latin1')
  return /^[\w.\-:]+$/.test(name) ? normalHost(name) : undefined
}
