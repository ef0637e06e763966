/**
 * A tunnel from a client to its way, with a look into it where names are checked.
 *
 * ```
 *   CONNECT a.example:443 ─▶ 200 ─▶ what does the client say?
 *        TLS for a.example ─▶ splice         TLS for b.example, or without a name ─▶ both reset
 *        HTTP              ─▶ each request is served here, and its Host must be a.example
 *        anything else     ─▶ splice: it goes to our own resolution of a.example
 * ```
 *
 * An address that was asked for as such has no name that could be a lie.
 */

import { ipFamily } from '@netkit/core'
import type { ClientHello } from './client-hello.ts'
import type { ProxyTarget } from './decision.ts'
import { ProxyFailure } from './failure.ts'
import { peekOpening } from './opening.ts'
import type { ProxyClient, SessionHost } from './session.ts'
import type { StreamReader } from './stream-reader.ts'
import type { Way } from './way.ts'

/** Runs a tunnel to its end. @throws ProxyFailure `name-mismatch`; the way is reset then, the client is the caller's. */
export async function runTunnel(
  host: SessionHost,
  reader: StreamReader,
  way: Way,
  target: ProxyTarget,
  client: ProxyClient,
): Promise<void> {
  if (host.checksNames && ipFamily(target.host) === undefined) {
    const opening = await peekOpening(host.clock, reader)
    if (opening.kind === 'http') {
      way.stream.reset()
      const { port } = target
      const within = { ...client, only: target.host, destination: { ip: target.host, port } }
      await host.serveInside(reader.release(), within)
      return
    }
    if (opening.kind === 'tls') {
      try {
        requireName(host, opening.hello, target.host)
      } catch (error) {
        way.stream.reset()
        throw error
      }
    }
  }
  await host.join(reader.release(), way.release()).closed
}

/** @throws ProxyFailure when the hello is not for that name, or hides for which it is. */
export function requireName(host: SessionHost, hello: ClientHello, name: string): void {
  if (hello.serverName !== name) {
    const said = hello.serverName === undefined ? 'names no server' : `is for ${hello.serverName}`
    throw new ProxyFailure(
      'name-mismatch',
      `The connection goes to ${name}, the TLS hello ${said}.`,
    )
  }
  if (hello.hasEch && host.refusesEch) {
    throw new ProxyFailure(
      'name-mismatch',
      `The TLS hello for ${name} may be for an encrypted name.`,
    )
  }
}
