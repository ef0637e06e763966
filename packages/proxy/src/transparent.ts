/**
 * Connections that were on their way to an address.
 *
 * ```
 *   before the handshake, routeTransparent:
 *     nothing here has a say ─▶ dial                 one name, one way ─▶ open it by that name, then answer the guest
 *     denied for every name ─▶ deny                  else              ─▶ accept, and look
 *
 *   accepted, serveTransparent:  what does the client say, within 3 s?
 *     TLS   ─▶ the name in its hello decides, and goes upstream
 *     HTTP  ─▶ Host decides, request by request
 *     else  ─▶ the name that DNS had said, or the address: server-first protocols, a foreign proxy, anything
 * ```
 *
 * A direct way goes to the address that the client had chosen; where names are checked, to our own resolution of the name. A denial is
 * a reset: inside TLS there is no answer that a client would believe.
 */

import type { ByteStream } from '@netkit/core'
import { decide, describeHop } from './decision.ts'
import type { Decision, DecisionSource, ProxyTarget } from './decision.ts'
import { failureOf } from './failure.ts'
import { serveHttp } from './http-session.ts'
import { peekOpening } from './opening.ts'
import { originOf } from './session.ts'
import type { SessionHost, TransparentClient } from './session.ts'
import { StreamReader } from './stream-reader.ts'
import { requireName } from './tunnel.ts'

/** What becomes of a connection that has not been answered yet. */
export type TransparentRoute =
  /** The proxy has nothing to do with it. */
  | { readonly action: 'dial' }
  /** It can go one way only: `openTransparent` opens that, and a failure is told by the handshake. */
  | { readonly action: 'open'; readonly target: ProxyTarget; readonly way: string }
  /** Its name must be seen first. */
  | { readonly action: 'accept' }
  | { readonly action: 'deny'; readonly rule: string; readonly reason: string }

/** What a route is made from. */
export interface RouteParts {
  readonly sources: readonly DecisionSource[]
  readonly checksNames: boolean
}

/** Decides about a connection by the names that DNS had said. Only what no look inside could change is decided here. */
export async function routeTransparent(
  { sources, checksNames }: RouteParts,
  client: TransparentClient,
  signal?: AbortSignal,
): Promise<TransparentRoute> {
  if (checksNames) return { action: 'accept' }
  const { destination, names = [] } = client
  const hosts = names.length > 0 ? names : [destination.ip]
  const targets = hosts.map((host) => targetOf(client, host, schemeOf(destination.port)))
  const decisions = await Promise.all(targets.map((target) => decide(sources, target, signal)))
  const [decision] = decisions
  const [target] = targets
  if (decision === undefined || target === undefined) return { action: 'dial' }
  if (decision.deny && decisions.every(({ deny }) => deny))
    return { action: 'deny', ...decision.deny }
  // For an address without a name "direct" may be an exception that its name would not have.
  const isForAll = names.length > 0 || decision.source === 'direct'
  if (isForAll && decisions.every(isDirect)) return { action: 'dial' }
  if (names.length === 1 && target.scheme === 'https' && !decision.deny) {
    return { action: 'open', target, way: decision.hops.map(describeHop).join(', then ') }
  }
  return { action: 'accept' }
}

const isDirect = ({ hops, deny }: Decision): boolean => !deny && hops[0]?.via === 'direct'

const schemeOf = (port: number): ProxyTarget['scheme'] =>
  port === 443 ? 'https' : port === 80 ? 'http' : 'tcp'

function targetOf(
  { destination, guest }: TransparentClient,
  host: string,
  scheme: ProxyTarget['scheme'],
): ProxyTarget {
  const { ip: address, port } = destination
  return { scheme, host, port, address, kind: 'transparent', ...(guest !== undefined && { guest }) }
}

/** Serves a connection that was accepted. Never rejects. */
export async function serveTransparent(
  host: SessionHost,
  stream: ByteStream,
  client: TransparentClient,
): Promise<void> {
  const gone = new AbortController()
  void stream.closed.then(() => gone.abort(new Error('the client has left')))
  const reader = new StreamReader(stream)
  const opening = await peekOpening(host.clock, reader)
  if (opening.kind === 'http') {
    await serveHttp(host, reader.release(), client)
    return
  }
  const { destination, names = [] } = client
  const known = names[0] ?? destination.ip
  const claimed = opening.kind === 'tls' ? opening.hello.serverName : undefined
  const scheme = opening.kind === 'tls' ? 'https' : 'tcp'
  const target = targetOf(client, claimed ?? known, scheme)
  try {
    if (host.checksNames && opening.kind === 'tls' && claimed !== undefined) {
      requireName(host, opening.hello, claimed)
    }
    const origin = originOf(host, stream, client, target, claimed !== undefined)
    const way = await host.openTunnel(target, origin, gone.signal)
    await host.join(reader.release(), way.release()).closed
  } catch (error) {
    if (!gone.signal.aborted) host.failed(failureOf(error, target.host), target)
    stream.reset()
  }
}
