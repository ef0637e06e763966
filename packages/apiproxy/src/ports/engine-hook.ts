/**
 * Ports by the engine's own hook: dockerd in rootless mode asks RootlessKit for each port before it binds it, and this is who it asks.
 *
 * ```
 *   dockerd --rootless, ROOTLESSKIT_STATE_DIR=<folder with api.sock>
 *     POST   /v1/ports  {"proto":"tcp4","parentIP":"0.0.0.0","parentPort":8080,"childIP":"192.168.65.3","childPort":8080}
 *                          ──▶ reserve and commit ──▶ 201 {"id":1,…}    or 400 {"message"}, which `docker run` shows word by word
 *     DELETE /v1/ports/1   ──▶ give back
 * ```
 *
 * Every start passes here, whoever asked for it: restart policies, compose, clients past the proxy. It takes the place of `inspectPorts`,
 * which would ask for the same ports a second time. It is no default: rootless mode costs the engine its cgroup limits (without
 * systemd), overlay networks and AppArmor. (RootlessKit's `pkg/api/openapi.yaml`; observed with dockerd 28.5.)
 *
 * Whoever reaches this socket can publish ports on the host: serve it where no container can open it.
 */

import { ipFamily } from '@netkit/core'
import type {
  Acceptor,
  ByteStream,
  Endpoint,
  Listening,
  PortError,
  PortPublisher,
  PortReservation,
  PortTarget,
} from '@netkit/core'
import { serveJson } from '../http/json-service.ts'
import type { JsonRequest, JsonResponse } from '../http/json-service.ts'

/** One port that the engine asks for. */
export interface HookedPort {
  readonly proto: 'tcp4' | 'udp4'
  /** On the host; a wildcard when nobody gave an address. */
  readonly parentIP: string
  readonly parentPort: number
  /** Where the engine binds it in the guest. */
  readonly childIP: string
  readonly childPort: number
}

/** Options of `createEngineHook`. */
export interface EngineHookOptions {
  readonly publisher: PortPublisher
  /** The way to a port in the guest: dial the guest at `childPort`. */
  target(port: HookedPort): PortTarget
  /** The guest's own address, on which the engine is to bind: where the target dials. Asked when the engine starts. */
  childIp(): string
  /** `true`: a port without an address is bound on all addresses of the host. Default loopback alone. */
  readonly wildcard?: boolean
}

/** The hook's server. */
export interface EngineHook extends AsyncDisposable {
  /** Serves the engine; a unix socket must be called `api.sock`. */
  listen(network: Acceptor, at: Endpoint): Promise<Listening>
  /** Serves one connection of the engine. */
  serve(stream: ByteStream): void
  /** What the engine holds. */
  ports(): readonly HookedPort[]
  /** Gives all ports back, as for an engine that is gone for good. */
  release(): Promise<void>
  /** Stops listening and gives all ports back. Idempotent. */
  close(): Promise<void>
}

/** Makes the hook. */
export function createEngineHook(options: EngineHookOptions): EngineHook {
  return new RunningHook(options)
}

// The engine binds the ports of both families on the one `childIP` of a driver, where the second would meet the first: so it is told of
// IPv4 alone, and what has no address is published on both families of the host.
const PROTOS = ['tcp4', 'udp4'] as const
const WILDCARD = '0.0.0.0'

class RunningHook implements EngineHook {
  readonly #options: EngineHookOptions
  readonly #held = new Map<number, { port: HookedPort; reservation: PortReservation }>()
  readonly #listeners = new Set<Listening>()
  readonly #streams = new Set<ByteStream>()
  #lastId = 0

  constructor(options: EngineHookOptions) {
    this.#options = options
  }

  async listen(network: Acceptor, at: Endpoint): Promise<Listening> {
    const listening = await network.listen(at, (stream) => this.serve(stream))
    this.#listeners.add(listening)
    return listening
  }

  serve(stream: ByteStream): void {
    this.#streams.add(stream)
    void serveJson(stream, (request) => this.#handle(request))
    void stream.closed.then(() => this.#streams.delete(stream))
  }

  ports(): readonly HookedPort[] {
    return [...this.#held.values()].map(({ port }) => port)
  }

  async release(): Promise<void> {
    const held = [...this.#held.values()]
    this.#held.clear()
    await Promise.all(held.map(({ reservation }) => reservation.abort()))
  }

  async close(): Promise<void> {
    for (const stream of this.#streams) stream.reset()
    await Promise.all([...this.#listeners].map((listening) => listening.close()))
    await this.release()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #handle({ method, path, json }: JsonRequest): Promise<JsonResponse> {
    const [, id] = /^\/v1\/ports\/(\d+)$/.exec(path) ?? []
    if (method === 'GET' && path === '/v1/info') return { status: 200, json: this.#info() }
    if (method === 'GET' && path === '/v1/ports') {
      const all = [...this.#held].map(([number, { port }]) => ({ id: number, spec: port }))
      return { status: 200, json: all }
    }
    if (method === 'POST' && path === '/v1/ports') return this.#add(json)
    if (method === 'DELETE' && id !== undefined) return this.#remove(Number(id))
    return { status: 404, json: { message: `netkit's port hook has no ${method} ${path}` } }
  }

  /** Only for a driver of this name, and one that disallows loopback, does the engine bind on `childIP`. */
  #info(): unknown {
    const childIP = this.#options.childIp()
    return {
      apiVersion: '1.1.1',
      version: '2.3.0',
      stateDir: '/',
      childPID: 1,
      networkDriver: { driver: 'netkit', dns: [], childIP, dynamicChildIP: false },
      portDriver: { driver: 'slirp4netns', protos: PROTOS, disallowLoopbackChildIP: true },
    }
  }

  async #add(json: unknown): Promise<JsonResponse> {
    const port = hookedPort(json)
    if (port === undefined) {
      const message = `netkit's port hook cannot read ${JSON.stringify(json)?.slice(0, 200)}`
      return { status: 400, json: { message } }
    }
    // An engine that was restarted with live containers asks for what they hold again.
    for (const [id, held] of this.#held)
      if (JSON.stringify(held.port) === JSON.stringify(port))
        return { status: 201, json: { id, spec: port } }
    const { publisher, wildcard = false } = this.#options
    try {
      const reservation = await publisher.reserve(
        [
          {
            protocol: port.proto.startsWith('udp') ? 'udp' : 'tcp',
            port: port.parentPort,
            ...(port.parentIP !== WILDCARD && { ip: port.parentIP }),
            ...(port.parentIP === WILDCARD && wildcard && { ip: [WILDCARD, '::'] }),
          },
        ],
        { owner: 'a container of the engine' },
      )
      try {
        await reservation.commit([this.#options.target(port)])
      } catch (error) {
        await reservation.abort()
        throw error
      }
      const id = ++this.#lastId
      this.#held.set(id, { port, reservation })
      return { status: 201, json: { id, spec: port } }
    } catch (error) {
      const { dockerMessage, message } = error as PortError
      return { status: 400, json: { message: dockerMessage ?? message } }
    }
  }

  async #remove(id: number): Promise<JsonResponse> {
    const held = this.#held.get(id)
    if (held === undefined)
      return { status: 404, json: { message: `netkit's port hook holds no port ${id}` } }
    this.#held.delete(id)
    await held.reservation.abort()
    return { status: 200, json: {} }
  }
}

const isPort = (port: number | undefined): port is number =>
  Number.isInteger(port) && Number(port) > 0 && Number(port) < 65_536

function hookedPort(json: unknown): HookedPort | undefined {
  if (typeof json !== 'object' || json === null) return undefined
  const { proto, parentIP, parentPort, childIP, childPort } = json as Partial<HookedPort>
  if (proto === undefined || !PROTOS.includes(proto) || !isPort(parentPort)) return undefined
  const host = parentIP === undefined || parentIP === '' ? WILDCARD : parentIP
  if (ipFamily(host) !== 4) return undefined
  return {
    proto,
    parentIP: host,
    parentPort,
    childIP: childIP ?? '',
    childPort: isPort(childPort) ? childPort : parentPort,
  }
}
