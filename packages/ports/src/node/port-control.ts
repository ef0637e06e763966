/**
 * Port control for scripts and other languages: HTTP on a unix socket.
 *
 * | request | does |
 * |---|---|
 * | `GET /v1/ports` | what is bound: `broker.list()` |
 * | `POST /v1/ports` `{owner, requests, targets?, ttlMs?, allow?, maxFlows?}` | reserves, and with `targets` commits: 201 `{id, ports, paths}` |
 * | `POST /v1/ports?hold` | the same, for as long as the connection stands: the answer does not end |
 * | `POST /v1/ports/<id>/commit` `{targets}` | 204 |
 * | `DELETE /v1/ports/<id>` · `DELETE /v1/owners/<owner>` | 204 |
 * | `POST /v1/probe` `{requests, side?}` | whether they could be had, on the `host` or in the `guest` |
 * | `POST /services/forwarder/expose` `{local, remote, protocol?}` | gvproxy's form (containers/gvisor-tap-vsock, pkg/services/forwarder) |
 * | `POST /services/forwarder/unexpose` `{local, protocol?}` · `GET /services/forwarder/all` | 〃 |
 *
 * A target is `{"to": "192.168.65.3:80", "preserveSource"?: {"except": […]}, "proxyProtocol"?: 1 | 2}`; `unix:/path` is a socket
 * in the guest. Errors are `{code, message, hint?, holder?}`: 400 for a request that makes no sense, 403 for a missing privilege, 409
 * for a port that is taken, 404 for an unknown id.
 */

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { errorCode, formatEndpoint, isNetkitError, NetkitError } from '@netkit/core'
import type { Endpoint, PortError, PortRequest, PortTarget } from '@netkit/core'
import { parseTarget } from '../forward-spec.ts'
import type { LeaseHandle } from '../lease.ts'
import type { PortBroker } from '../broker-contract.ts'
import type { PublishRequest } from '../port-request.ts'

/** Options of `portControl`. */
export interface PortControlOptions {
  readonly broker: PortBroker
  /** Where targets are dialled. */
  readonly network: PortTarget['network']
  /** Preserved source addresses for gvproxy's form, which cannot say; default: clients appear as the gateway. */
  readonly preserveSource?: PortTarget['preserveSource']
}

/** A body larger than this is no request of ours, `bytes`. */
const MAX_BODY_BYTES = 1 << 20

/**
 * The handler for an HTTP server. Serve it on a unix socket (`serve` of `@netkit/core/node` makes it with mode 0600), never on TCP:
 * whoever can ask it can publish.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 * import { memoryNetwork, readAll, writeAll } from '@netkit/core'
 * import { serve } from '@netkit/core/node'
 * import { createPortBroker } from '@netkit/ports'
 * import { portControl } from '@netkit/ports/node'
 *
 * const host = memoryNetwork()
 * const broker = createPortBroker({ host })
 * const path = '/run/netkit/ports.sock'
 * await serve(createServer(portControl({ broker, network: memoryNetwork() })), host, { path })
 *
 * const body = JSON.stringify({ local: '127.0.0.1:8080', remote: '192.168.127.2:80', protocol: 'tcp' })
 * const stream = await host.connect({ path })
 * await writeAll(
 *   stream,
 *   `POST /services/forwarder/expose HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
 * )
 * console.assert(new TextDecoder().decode(await readAll(stream)).startsWith('HTTP/1.1 200'))
 * console.assert(broker.list().length === 1)
 * await broker.close()
 * ```
 */
export function portControl(options: PortControlOptions): RequestListener {
  const control = new PortControl(options)
  return (request, response) => void control.handle(request, response)
}

interface GvproxyPort {
  readonly local: string
  readonly remote: string
  readonly protocol: string
}

class PortControl {
  readonly #options: PortControlOptions
  readonly #leases = new Map<string, LeaseHandle>()
  readonly #exposed = new Map<string, { port: GvproxyPort; lease: LeaseHandle }>()
  #nextId = 1

  constructor(options: PortControlOptions) {
    this.#options = options
    // What ended otherwise (TTL, release, close) is not ours to offer any more.
    options.broker.on((event) => {
      if (event.kind !== 'released') return
      for (const [id, lease] of this.#leases) if (lease.over) this.#leases.delete(id)
      for (const [key, { lease }] of this.#exposed) if (lease.over) this.#exposed.delete(key)
    })
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://control')
    const gvproxy = pathname.startsWith('/services/forwarder/')
    try {
      if (gvproxy) await this.#gvproxy(pathname, request, response)
      else await this.#own(pathname, searchParams.has('hold'), request, response)
    } catch (error) {
      // gvproxy's clients show the body as it is.
      if (gvproxy)
        response.writeHead(500, { 'content-type': 'text/plain' }).end(`${messageOf(error)}\n`)
      else send(response, statusOf(error), describe(error))
    }
  }

  async #own(
    path: string,
    hold: boolean,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { method } = request
    const { broker } = this.#options
    const [, version, collection, name, verb] = path.split('/').map(decodeURIComponent)
    const route = `${method} /${version}/${collection}${name === undefined ? '' : '/*'}${verb === undefined ? '' : `/${verb}`}`
    if (route === 'GET /v1/ports') send(response, 200, broker.list())
    else if (route === 'POST /v1/ports') await this.#publish(await body(request), hold, response)
    else if (route === 'POST /v1/probe') {
      const given = await body(request)
      const { side = 'host' } = given
      if (side !== 'host' && side !== 'guest') throw invalid('side', 'host or guest')
      const probes = await broker.probe(requestsOf(given), { side })
      const answer = probes.map(({ address, error }) => ({
        ...address,
        error: error === undefined ? null : describe(error),
      }))
      send(response, 200, answer)
    } else if (route === 'POST /v1/ports/*/commit') {
      await this.#lease(name).commit(this.#targetsOf(await body(request)))
      response.writeHead(204).end()
    } else if (route === 'DELETE /v1/ports/*') {
      await this.#lease(name).abort()
      this.#leases.delete(name ?? '')
      response.writeHead(204).end()
    } else if (route === 'DELETE /v1/owners/*') {
      await broker.release(name ?? '')
      response.writeHead(204).end()
    } else throw notFound(`There is no ${method} ${path} here.`)
  }

  async #publish(
    given: Record<string, unknown>,
    hold: boolean,
    response: ServerResponse,
  ): Promise<void> {
    const { owner, targets, ttlMs, allow, maxFlows } = given
    if (typeof owner !== 'string' || owner === '')
      throw invalid('owner', 'a name for who holds the ports')
    const requests = requestsOf(given)
    const parsed = targets === undefined ? undefined : this.#targetsOf(given)
    const lease = await this.#options.broker.reserve(requests, {
      owner,
      ...(ttlMs !== undefined && { ttlMs: number('ttlMs', ttlMs) }),
      ...(maxFlows !== undefined && { maxFlows: number('maxFlows', maxFlows) }),
      ...(allow !== undefined && { allow: strings('allow', allow) }),
    })
    try {
      if (parsed !== undefined) await lease.commit(parsed)
    } catch (error) {
      await lease.abort()
      throw error
    }
    const id = String(this.#nextId++)
    this.#leases.set(id, lease)
    const answer = JSON.stringify({ id, ports: lease.ports, paths: lease.paths })
    response.writeHead(201, { 'content-type': 'application/json' })
    if (!hold) {
      response.end(`${answer}\n`)
      return
    }
    // The owner's death closes the connection, whatever he dies of.
    response.on('close', () => {
      this.#leases.delete(id)
      void lease.abort()
    })
    response.write(`${answer}\n`)
  }

  #lease(id = ''): LeaseHandle {
    const lease = this.#leases.get(id)
    if (lease === undefined)
      throw notFound(`There is no reservation '${id}'; it may have been released.`)
    return lease
  }

  #targetsOf(given: Record<string, unknown>): PortTarget[] {
    return list('targets', given['targets']).map((target) => {
      const { to, preserveSource, proxyProtocol } = record('targets', target)
      if (typeof to !== 'string') throw invalid('targets[].to', 'ip:port or unix:/path')
      if (proxyProtocol !== undefined && proxyProtocol !== 1 && proxyProtocol !== 2) {
        throw invalid('targets[].proxyProtocol', '1 or 2')
      }
      return {
        network: this.#options.network,
        to: parseTarget(to),
        ...(preserveSource !== undefined && {
          preserveSource: {
            except: strings(
              'targets[].preserveSource.except',
              record('preserveSource', preserveSource)['except'],
            ),
          },
        }),
        ...(proxyProtocol !== undefined && { proxyProtocol }),
      }
    })
  }

  async #gvproxy(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const verb = `${request.method} ${path.slice('/services/forwarder/'.length)}`
    if (verb === 'GET all') {
      send(
        response,
        200,
        [...this.#exposed.values()].map(({ port }) => port),
      )
      return
    }
    if (verb !== 'POST expose' && verb !== 'POST unexpose') {
      response.writeHead(404).end()
      return
    }
    const { local, remote = '', protocol = 'tcp' } = await body(request)
    if (typeof local !== 'string' || typeof remote !== 'string' || typeof protocol !== 'string') {
      response
        .writeHead(400, { 'content-type': 'text/plain' })
        .end('local, remote and protocol are strings\n')
      return
    }
    const key = `${protocol} ${local}`
    if (verb === 'POST expose') await this.#expose(key, { local, remote, protocol })
    else {
      const found = this.#exposed.get(key)
      if (found === undefined) throw new Error('proxy not found')
      this.#exposed.delete(key)
      await found.lease.abort()
    }
    response.writeHead(200).end()
  }

  async #expose(key: string, port: GvproxyPort): Promise<void> {
    const { broker, network, preserveSource } = this.#options
    if (this.#exposed.has(key)) throw new Error('proxy already running')
    const lease = await broker.reserve([gvproxyRequest(port)], { owner: `expose ${port.local}` })
    try {
      const to = gvproxyTarget(port)
      await lease.commit([{ network, to, ...(preserveSource && { preserveSource }) }])
      this.#exposed.set(key, { port, lease })
    } catch (error) {
      await lease.abort()
      throw error
    }
  }
}

function gvproxyRequest({ local, protocol }: GvproxyPort): PublishRequest {
  if (protocol === 'unix' || protocol === 'npipe') return { protocol: 'unix', path: local }
  if (protocol !== 'tcp' && protocol !== 'udp') {
    throw new Error(
      `unknown protocol for forwarder: ${protocol}; this one takes tcp, udp, unix and npipe`,
    )
  }
  // `:8080` is every address of both families, as in Go's net.Listen.
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(local) ?? []
  if (port === '') throw new Error(`'${local}' is no ip:port`)
  const ip = host.replace(/^\[|\]$/g, '')
  return { protocol, port: Number(port), ip: ip === '' ? ['0.0.0.0', '::'] : ip }
}

function gvproxyTarget({ remote }: GvproxyPort): Endpoint {
  // Socket files name their target as a URL.
  const scheme = /^(\w[\w-]*):\/\//.exec(remote)?.[1]
  if (scheme !== undefined && scheme !== 'tcp') {
    throw new Error(`${scheme} targets are not supported here; use tcp://ip:port`)
  }
  return parseTarget(remote.replace(/^tcp:\/\//, ''))
}

function requestsOf(given: Record<string, unknown>): PublishRequest[] {
  return list('requests', given['requests']).map((request): PublishRequest => {
    const { protocol, path, ip, port, count } = record('requests', request)
    if (protocol === 'unix') {
      if (typeof path !== 'string') throw invalid('requests[].path', 'the path of a unix socket')
      return { protocol, path }
    }
    if (ip !== undefined && typeof ip !== 'string' && !isStrings(ip)) {
      throw invalid('requests[].ip', 'an address or a list of addresses')
    }
    // The broker checks the rest, and says it better.
    return {
      protocol: protocol as PortRequest['protocol'],
      port: number('requests[].port', port),
      ...(ip !== undefined && { ip }),
      ...(count !== undefined && { count: number('requests[].count', count) }),
    }
  })
}

async function body(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_BODY_BYTES) throw invalid('body', `at most ${MAX_BODY_BYTES} bytes`)
    chunks.push(chunk)
  }
  try {
    return record('body', JSON.parse(Buffer.concat(chunks).toString()))
  } catch (error) {
    throw isNetkitError(error) ? error : invalid('body', 'a JSON object')
  }
}

function invalid(field: string, wanted: string): NetkitError {
  return new NetkitError('NETKIT_PORT_CONTROL_REQUEST', `'${field}' must be ${wanted}.`)
}

const notFound = (message: string): NetkitError =>
  new NetkitError('NETKIT_PORT_CONTROL_NOT_FOUND', message)

function record(field: string, value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(field, 'a JSON object')
  }
  return value as Record<string, unknown>
}

function list(field: string, value: unknown): unknown[] {
  if (!Array.isArray(value)) throw invalid(field, 'a list')
  return value
}

function number(field: string, value: unknown): number {
  if (typeof value !== 'number') throw invalid(field, 'a number')
  return value
}

const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string')

function strings(field: string, value: unknown): string[] {
  if (!isStrings(value)) throw invalid(field, 'a list of strings')
  return value
}

function statusOf(error: unknown): number {
  if (isNetkitError(error)) return isNetkitError(error, 'NETKIT_PORT_CONTROL_NOT_FOUND') ? 404 : 400
  const code = errorCode(error)
  if (code === 'EACCES' || code === 'HELPER_MISSING') return 403
  return code === undefined ? 500 : 409
}

const messageOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const { code, address, port } = error as Partial<PortError>
  // The words that gvproxy, and so its clients, know.
  return code === 'EADDRINUSE' && address !== undefined
    ? `listen ${formatEndpoint({ ip: address, port: port ?? 0 })}: bind: address already in use: ${error.message}`
    : error.message
}

function describe(error: unknown): Record<string, unknown> {
  const { code, holder, hint } = error as Partial<PortError>
  const message = error instanceof Error ? error.message : String(error)
  return {
    code: code ?? 'ERROR',
    message,
    ...(hint !== undefined && { hint }),
    ...(holder !== undefined && { holder }),
  }
}

function send(response: ServerResponse, status: number, value: unknown): void {
  response
    .writeHead(status, { 'content-type': 'application/json' })
    .end(`${JSON.stringify(value)}\n`)
}
