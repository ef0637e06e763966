/**
 * A page on the host's loopback that shows a network while it works.
 *
 * ```
 *   GET /<token>/                 the page, its style and its scripts; nothing from elsewhere
 *   GET /<token>/events           server-sent events: 'state', 'flows', 'dns', 'decisions'
 *   GET /<token>/snapshot         GuestNetwork.snapshot() as JSON
 *   GET /<token>/explain/dns      ?name=&type=&guest=        the real chains, with a trace
 *   GET /<token>/explain/egress   ?target=host:port&guest=
 *   GET /<token>/explain/proxy    ?url=&guest=
 *   GET /<token>/capture.pcapng   the last frames
 *   GET /<token>/metrics          Prometheus' text; also GET /metrics with "Authorization: Bearer <token>"
 * ```
 *
 * Who may look: whoever has the token, on this machine. The Host header must be the loopback's (a page of the web that has its name point
 * here is turned away), and guests cannot reach the port, as it is one of netkit's own listeners. What the page shows comes from
 * `snapshot()`, the DNS log, `explain` and the diagnostics channels alone: an embedder sees as much without it.
 */

import { timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { errorCode, isIpEndpoint, systemClock, systemRandom } from '@netkit/core'
import type { Clock, IpEndpoint, Network, Random } from '@netkit/core'
import { serve } from '@netkit/core/node'
import type { PcapRing } from '@netkit/frames'
import type { GuestNetwork } from '../guest-network.ts'
import { INSPECT_PAGES, INSPECT_TOKEN_BYTES } from '../limits.ts'
import { LiveFeed } from './live-feed.ts'
import { PROMETHEUS_TYPE, prometheusText } from './prometheus.ts'
import { ProxyDecisions } from './proxy-decisions.ts'

/** Options of `serveInspector`. */
export interface InspectorOptions {
  /** What is shown. */
  readonly network: GuestNetwork
  /** Whose loopback it is served on: `hostNetwork()`. */
  readonly host: Network
  /** Default: one that the OS chooses. */
  readonly port?: number
  /** The ring that the guests' links are captured in, for the download. Without one there is none. */
  readonly capture?: PcapRing
  /** The network's own clock. */
  readonly clock?: Clock
  readonly random?: Random
}

/** A running page. */
export interface Inspector extends AsyncDisposable {
  /** The page's address with its token. Whoever has it sees all that guests do. */
  readonly url: string
  readonly address: IpEndpoint
  readonly token: string
  /** Idempotent. */
  close(): Promise<void>
}

const ASSETS = {
  '': ['page.html', 'text/html; charset=utf-8'],
  'page.css': ['page.css', 'text/css; charset=utf-8'],
  'page.js': ['page.js', 'text/javascript; charset=utf-8'],
  'graph.js': ['graph.js', 'text/javascript; charset=utf-8'],
  'virtual-table.js': ['virtual-table.js', 'text/javascript; charset=utf-8'],
} as const

/** Nothing from elsewhere, in no frame, and the token in the address goes nowhere. */
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
} as const

/**
 * Serves the page of a network.
 *
 * @throws a socket error (`EADDRINUSE`) when the port cannot be had.
 * @example
 * ```ts
 * import { memoryNetwork } from '@netkit/core'
 * import { createGuestNetwork } from '@netkit/guestnet'
 * import { serveInspector } from '@netkit/guestnet/inspect'
 *
 * await using network = await createGuestNetwork()
 * await using inspector = await serveInspector({ network, host: memoryNetwork() }) // in earnest: hostNetwork()
 * console.assert(inspector.url.startsWith('http://127.0.0.1:'))
 * ```
 */
export async function serveInspector(options: InspectorOptions): Promise<Inspector> {
  const { network, host, port = 0, capture, clock = systemClock, random = systemRandom } = options
  const assets = new Map<string, Response>()
  for (const [path, [file, type]] of Object.entries(ASSETS)) {
    const body = await readFile(new URL(`page/${file}`, import.meta.url))
    assets.set(path, { type, body })
  }
  const token = tokenOf(random)
  const decisions = new ProxyDecisions(clock)
  const site = new Site({
    network,
    token,
    assets,
    capture,
    feed: new LiveFeed({ network, decisions, capture, clock }),
  })
  const server = createServer((request, response) => site.answer(request, response))
  server.on('connection', (socket: Socket) => site.connected(socket))
  const listening = await serve(server, host, { ip: '127.0.0.1', port })
  const address = isIpEndpoint(listening.address) ? listening.address : { ip: '127.0.0.1', port }
  site.port = address.port
  let closing: Promise<void> | undefined
  const close = (): Promise<void> =>
    (closing ??= (async (): Promise<void> => {
      decisions[Symbol.dispose]()
      site.close()
      await listening.close()
    })())
  return {
    url: `http://127.0.0.1:${address.port}/${token}/`,
    address,
    token,
    close,
    [Symbol.asyncDispose]: close,
  }
}

function tokenOf(random: Random): string {
  const bytes = new Uint8Array(INSPECT_TOKEN_BYTES)
  // oxlint-disable-next-line unicorn/no-array-fill-with-reference-type -- it is chance that fills
  random.fill(bytes)
  return Buffer.from(bytes).toString('base64url')
}

interface Response {
  readonly type: string
  readonly body: string | Uint8Array
  /** Name of the file that a browser saves it as. */
  readonly file?: string
}

interface SiteParts {
  readonly network: GuestNetwork
  readonly token: string
  readonly assets: ReadonlyMap<string, Response>
  readonly capture: PcapRing | undefined
  readonly feed: LiveFeed
}

const json = (value: unknown): Response => ({
  type: 'application/json; charset=utf-8',
  body: JSON.stringify(value),
})

class Site {
  readonly #parts: SiteParts
  readonly #sockets = new Set<Socket>()
  readonly #open = new Set<ServerResponse>()
  /** Where it listens; known once it does. */
  port = 0

  constructor(parts: SiteParts) {
    this.#parts = parts
  }

  /** Answers one request. */
  answer(request: IncomingMessage, response: ServerResponse): void {
    response.on('error', () => {})
    const refuse = (status: number, why: string): void => {
      response.writeHead(status, { ...HEADERS, 'content-type': 'text/plain; charset=utf-8' })
      response.end(`${why}\n`)
    }
    const names = ['127.0.0.1', 'localhost', '[::1]'].map((name) => `${name}:${this.port}`)
    if (!names.includes(request.headers.host?.toLowerCase() ?? ''))
      return refuse(403, `This page is at http://${names[0]} and answers to no other name.`)
    if (request.method !== 'GET') return refuse(405, 'Only GET is served here.')
    const { url: target = '/' } = request
    // `GET //` is a request that parses and a URL that does not.
    if (!URL.canParse(target, 'http://127.0.0.1')) return refuse(400, 'That is no path.')
    const url = new URL(target, 'http://127.0.0.1')
    const path = this.#within(url, request)
    if (path === undefined)
      return refuse(404, 'Nothing is here without the token that netkit printed with the address.')
    if (path === 'events') return this.#events(response, refuse)
    void this.#send(path, url.searchParams, response, refuse)
  }

  /** A browser's connection; it ends with the site. */
  connected(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** The path below the token; `undefined` without it. */
  #within(url: URL, request: IncomingMessage): string | undefined {
    const { token } = this.#parts
    const [, first = '', ...rest] = url.pathname.split('/')
    if (url.pathname === '/metrics') {
      const given = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''
      return same(given, token) ? 'metrics' : undefined
    }
    // Without the slash, the page's own paths would not be below the token.
    return same(first, token) && url.pathname.length > first.length + 1 ? rest.join('/') : undefined
  }

  async #send(
    path: string,
    query: URLSearchParams,
    response: ServerResponse,
    refuse: (status: number, why: string) => void,
  ): Promise<void> {
    try {
      const page = await this.#page(path, query)
      if (!page) return refuse(404, 'There is no such page.')
      const { type, body, file } = page
      const saved = file && { 'content-disposition': `attachment; filename="${file}"` }
      response.writeHead(200, { ...HEADERS, 'content-type': type, ...saved })
      response.end(body)
    } catch (error) {
      // What was asked for is wrong where there is a code; else we are.
      const status = errorCode(error) === undefined ? 500 : 400
      refuse(status, error instanceof Error ? error.message : String(error))
    }
  }

  async #page(path: string, query: URLSearchParams): Promise<Response | undefined> {
    const { network, assets, capture } = this.#parts
    const guest = query.get('guest') || undefined
    const asGuest = guest === undefined ? {} : { guest }
    switch (path) {
      case 'snapshot':
        return json(network.snapshot())
      case 'metrics':
        return { type: PROMETHEUS_TYPE, body: prometheusText(network.snapshot()) }
      case 'capture.pcapng':
        return (
          capture && {
            type: 'application/octet-stream',
            body: capture.snapshot(),
            file: 'netkit.pcapng',
          }
        )
      case 'explain/dns': {
        if (!network.dns) return undefined
        const { question, steps, answer, from } = await network.dns.explain(
          query.get('name') ?? '',
          query.get('type') || 'A',
          asGuest,
        )
        return json({ question, steps, answer, from })
      }
      case 'explain/egress':
        return json(await network.explain(query.get('target') ?? '', asGuest))
      case 'explain/proxy':
        return network.proxy && json(await network.proxy.explain(query.get('url') ?? '', asGuest))
      default:
        return assets.get(path)
    }
  }

  #events(response: ServerResponse, refuse: (status: number, why: string) => void): void {
    if (this.#open.size >= INSPECT_PAGES)
      return refuse(503, `${INSPECT_PAGES} pages already show this network. Close one of them.`)
    response.writeHead(200, { ...HEADERS, 'content-type': 'text/event-stream' })
    this.#open.add(response)
    const hide = this.#parts.feed.show({
      ready: () => response.writableLength === 0,
      send: (event, data) => void response.write(`event: ${event}\ndata: ${data}\n\n`),
    })
    response.once('close', () => {
      hide()
      this.#open.delete(response)
    })
  }
}

function same(given: string, token: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(token)]
  return a.length === b.length && timingSafeEqual(a, b)
}
