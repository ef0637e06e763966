/**
 * TLS that was on its way to an address: the name in its hello decides, and goes upstream.
 *
 * ```
 *   accept ─▶ peek ≤ 64 KiB, ≤ 3 s ─▶ name ─▶ decide ─▶ open by name ─▶ hello goes first ─▶ splice
 *                 └─ no hello (server-first, another protocol), no name ─▶ what DNS had said, else the address
 * ```
 *
 * A denial is a reset: there is no answer inside TLS that a client would believe.
 */

import { isIpEndpoint } from '@netkit/core'
import type { ByteStream, FlowOrigin } from '@netkit/core'
import { parseClientHello } from './client-hello.ts'
import type { ClientHello } from './client-hello.ts'
import { withDeadline } from './deadline.ts'
import type { ProxyTarget } from './decision.ts'
import { failureOf } from './failure.ts'
import type { ProxyClient, SessionHost } from './http-session.ts'
import { CLIENT_HELLO_BYTES, PEEK_DEADLINE_MS } from './limits.ts'
import { StreamReader } from './stream-reader.ts'

/** Serves one connection. Never rejects. */
export async function serveTransparentTls(
  host: SessionHost,
  stream: ByteStream,
  client: ProxyClient & { readonly destination: { readonly ip: string; readonly port: number } },
): Promise<void> {
  const gone = new AbortController()
  void stream.closed.then(() => gone.abort(new Error('the client has left')))
  const reader = new StreamReader(stream)
  const { destination, guest, names = [] } = client
  let target: ProxyTarget | undefined
  try {
    const hello = await peekHello(host, reader)
    const name = hello?.serverName ?? names[0] ?? destination.ip
    target = {
      scheme: hello === undefined ? 'tcp' : 'https',
      host: name,
      port: destination.port,
      kind: 'transparent',
      ...(guest !== undefined && { guest }),
    }
    const { remote } = stream
    const origin: FlowOrigin = {
      layer: 'proxy',
      chosenBy: 'guest',
      names: [name, ...names.filter((other) => other !== name)],
      ...(guest !== undefined && { guest }),
      ...(remote && isIpEndpoint(remote) && { source: remote }),
    }
    const way = await host.openTunnel(target, origin, gone.signal)
    await host.join(reader.release(), way.stream, target).closed
  } catch (error) {
    if (!gone.signal.aborted) host.failed(failureOf(error, target?.host ?? destination.ip), target)
    stream.reset()
  }
}

/** The hello, left in the reader; `undefined` when there is none in time. */
async function peekHello(
  host: SessionHost,
  reader: StreamReader,
): Promise<ClientHello | undefined> {
  let seen: Uint8Array = new Uint8Array(0)
  try {
    return await withDeadline(host.clock, PEEK_DEADLINE_MS, undefined, async () => {
      for (;;) {
        const bytes = await reader.next()
        if (bytes === undefined) return undefined
        const joined = new Uint8Array(seen.length + bytes.length)
        joined.set(seen)
        joined.set(bytes, seen.length)
        seen = joined
        const result = parseClientHello(seen)
        if (typeof result !== 'string') return result
        if (result === 'not-tls' || seen.length > CLIENT_HELLO_BYTES + 1024) return undefined
      }
    })
  } catch {
    return undefined
  } finally {
    reader.pushBack(seen)
  }
}
