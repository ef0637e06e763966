/** An engine in memory for unit tests: containers that start, stop and publish, as far as a port inspector can tell. */

import { chunks, memoryNetwork, socketError, writeAll } from '@netkit/core'
import type {
  ByteStream,
  Endpoint,
  Listening,
  Network,
  PortPublisher,
  PortRequest,
  PortReservation,
} from '@netkit/core'

interface ScriptedContainer {
  running: boolean
  readonly bindings: Record<string, { HostIp: string; HostPort: string }[]>
  readonly labels?: Record<string, string>
}

interface ScriptedService {
  Spec: { Name?: string; EndpointSpec?: { Ports?: { PublishedPort?: number }[] } }
  Endpoint: { Ports: { PublishedPort?: number }[] }
}

/** Answers the calls that a port inspector and its clients make. */
export class ScriptedEngine {
  readonly network: Network = memoryNetwork()
  readonly endpoint: Endpoint = { path: '/engine' }
  readonly containers = new Map<string, ScriptedContainer>()
  /** `undefined`: no manager of a swarm. */
  services: Map<string, ScriptedService> | undefined
  /** `METHOD path` of all calls but inspects, lists and events. */
  readonly calls: string[] = []
  /** Inspects are answered 500. */
  inspectFails = false
  /** So they are after a removal, as podman's now and then. */
  failsAfterRemoval = false
  /** The next start fails with this. */
  failure: string | undefined
  /** The number the engine takes where it may choose. */
  nextDynamic = 32_768
  readonly #followers = new Set<ByteStream>()

  #listening: Listening | undefined

  async listen(): Promise<void> {
    this.#listening = await this.network.listen(this.endpoint, (stream) => void this.#serve(stream))
  }

  add(id: string, bindings: ScriptedContainer['bindings'], running = false): void {
    this.containers.set(id, { bindings, running })
  }

  /** What happens without any client of the proxy. */
  async event(action: 'start' | 'die' | 'destroy', id: string): Promise<void> {
    const container = this.containers.get(id)
    if (container) container.running = action === 'start'
    if (action === 'destroy') this.containers.delete(id)
    await this.tell('container', action, id)
  }

  async tell(Type: string, Action: string, ID: string): Promise<void> {
    const line = `${JSON.stringify({ Type, Action, Actor: { ID } })}\n`
    for (const follower of this.#followers) await writeAll(follower, line)
  }

  /** Nobody is served any more. */
  async stop(): Promise<void> {
    await this.#listening?.close()
  }

  /** The engine restarts: its event streams end. */
  endEvents(): void {
    for (const follower of this.#followers) follower.end()
    this.#followers.clear()
  }

  get followers(): number {
    return this.#followers.size
  }

  async #serve(stream: ByteStream): Promise<void> {
    let text = ''
    for await (const chunk of chunks(stream)) {
      text += new TextDecoder().decode(chunk)
      const end = text.indexOf('\r\n\r\n')
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
      if (end >= 0 && text.length >= end + 4 + length) break
    }
    const line = text.slice(0, text.indexOf('\r\n'))
    const body = text.slice(text.indexOf('\r\n\r\n') + 4)
    const [method = '', target = ''] = line.split(' ')
    if (target.startsWith('/events')) {
      await writeAll(stream, 'HTTP/1.0 200 OK\r\n\r\n')
      this.#followers.add(stream)
      return
    }
    const { status, json } = this.#answer(method, target.replace(/^\/v[\d.]+/, ''), body)
    const content = json === undefined ? '' : JSON.stringify(json)
    await writeAll(
      stream,
      `HTTP/1.1 ${status} Scripted\r\nContent-Length: ${content.length}\r\nConnection: close\r\n\r\n${content}`,
    )
    stream.end()
  }

  #answer(method: string, path: string, body: string): { status: number; json?: unknown } {
    if (method === 'GET' && path === '/containers/json') {
      const running = [...this.containers].filter(([, container]) => container.running)
      return { status: 200, json: running.map(([id, one]) => listed(id, one, this.nextDynamic)) }
    }
    if (path.startsWith('/services')) return this.#service(method, path, body)
    if (path.startsWith('/containers/create')) return this.#create(body)
    const [, id = '', verb = ''] = /^\/containers\/([^/?]+)\/?([a-z]*)/.exec(path) ?? []
    const container = this.containers.get(id)
    if (method === 'GET' && verb === 'json') return this.#inspect(id, container)
    this.calls.push(`${method} ${path}${body}`)
    if (path.startsWith('/networks/')) return { status: 200 }
    if (container === undefined)
      return { status: 404, json: { message: `No such container: ${id}` } }
    if (method === 'DELETE') {
      this.containers.delete(id)
      this.inspectFails = this.failsAfterRemoval
    } else if (this.failure !== undefined && verb === 'start')
      return { status: 500, json: { message: this.failure } }
    else container.running = verb !== 'stop' && verb !== 'kill'
    return { status: 204 }
  }

  #create(body: string): { status: number; json: unknown } {
    const { HostConfig, Labels } = JSON.parse(body) as {
      HostConfig: { PortBindings: ScriptedContainer['bindings'] }
      Labels?: Record<string, string>
    }
    const id = `c${this.containers.size}`
    const container = { running: false, bindings: HostConfig.PortBindings, labels: Labels ?? {} }
    this.containers.set(id, container)
    this.calls.push(`POST /containers/create${body}`)
    return { status: 201, json: { Id: id } }
  }

  #service(method: string, path: string, body: string): { status: number; json?: unknown } {
    const services = this.services
    if (services === undefined)
      return { status: 503, json: { message: 'This node is not a swarm manager.' } }
    const [, id = '', verb = ''] = /^\/services\/?([^/?]*)\/?([a-z]*)/.exec(path) ?? []
    if (method === 'GET' && id === '')
      return { status: 200, json: [...services].map(([ID, one]) => ({ ID, ...one })) }
    const found = services.get(id)
    if (method === 'GET' && found) return { status: 200, json: { ID: id, ...found } }
    this.calls.push(`${method} ${path}`)
    if (method === 'DELETE') services.delete(id)
    if (id === 'create' || verb === 'update') {
      const Spec = JSON.parse(body) as ScriptedService['Spec']
      const Ports = (Spec.EndpointSpec?.Ports ?? []).map((port) => ({
        ...port,
        PublishedPort: port.PublishedPort ?? this.nextDynamic,
      }))
      const ID = id === 'create' ? `s${services.size}` : id
      services.set(ID, { Spec, Endpoint: { Ports } })
      return id === 'create' ? { status: 201, json: { ID } } : { status: 200, json: {} }
    }
    return { status: found ? 200 : 404 }
  }

  #inspect(
    id: string,
    container: ScriptedContainer | undefined,
  ): { status: number; json?: unknown } {
    if (this.inspectFails) return { status: 500, json: { message: 'out of memory' } }
    if (container === undefined)
      return { status: 404, json: { message: `No such container: ${id}` } }
    const { running, bindings, labels } = container
    return {
      status: 200,
      json: {
        Id: id,
        Name: `/name-of-${id}`,
        State: { Running: running },
        Config: { Labels: labels ?? {} },
        HostConfig: { NetworkMode: 'bridge', PortBindings: bindings },
        NetworkSettings: { Ports: running ? bound(bindings, this.nextDynamic) : {} },
      },
    }
  }
}

/** What the engine binds: the default address is the wildcards of both families, a range its first number. */
function bound(
  bindings: ScriptedContainer['bindings'],
  nextDynamic: number,
): ScriptedContainer['bindings'] {
  return Object.fromEntries(
    Object.entries(bindings).map(([port, list]) => [
      port,
      list.flatMap(({ HostIp, HostPort }) => {
        const number =
          HostPort === '' || HostPort === '0' ? String(nextDynamic) : HostPort.replace(/-.*/, '')
        const ips = HostIp === '' ? ['0.0.0.0', '::'] : [HostIp]
        return ips.map((ip) => ({ HostIp: ip, HostPort: number }))
      }),
    ]),
  )
}

function listed(Id: string, { bindings, labels }: ScriptedContainer, nextDynamic: number): unknown {
  const Ports = Object.entries(bound(bindings, nextDynamic)).flatMap(([key, list]) =>
    list.map(({ HostIp, HostPort }) => ({
      IP: HostIp,
      PrivatePort: Number(key.split('/')[0]),
      PublicPort: Number(HostPort),
      Type: 'tcp',
    })),
  )
  return { Id, Labels: labels ?? {}, Ports }
}

/** A publisher that keeps a book and binds nothing. */
export class ScriptedPublisher implements PortPublisher {
  /** Port → who holds it, and whether it is committed. */
  readonly book = new Map<number, { owner: string; committed: boolean }>()
  /** Ports that somebody else on the host holds. */
  readonly foreign = new Set<number>()
  readonly asked: PortRequest[] = []
  /** Targets cannot be reached. */
  failsToCommit = false
  /** What is given where any port will do. */
  nextFree = 50_000

  reserve(
    [request]: readonly PortRequest[],
    { owner }: { owner: string },
  ): Promise<PortReservation> {
    if (request !== undefined) this.asked.push(request)
    const port = request?.port || this.nextFree++
    const held = this.book.get(port)
    if (held !== undefined || this.foreign.has(port)) {
      const error = socketError('EADDRINUSE', { syscall: 'listen', port })
      const holder =
        held === undefined
          ? { kind: 'process' as const, side: 'host' as const, command: 'postgres' }
          : { kind: 'lease' as const, owner: held.owner, ageMs: 0 }
      const dockerMessage = `port is already allocated: by ${held?.owner ?? 'postgres'}`
      return Promise.reject(Object.assign(error, { holder, dockerMessage }))
    }
    const entry = { owner, committed: false }
    this.book.set(port, entry)
    const abort = (): Promise<void> => {
      if (this.book.get(port) === entry) this.book.delete(port)
      return Promise.resolve()
    }
    return Promise.resolve({
      owner,
      ports: [{ protocol: 'tcp', ip: '127.0.0.1', port }],
      commit: () => {
        if (this.failsToCommit) return Promise.reject(new Error('there is no way in'))
        entry.committed = true
        return Promise.resolve()
      },
      abort,
      [Symbol.asyncDispose]: abort,
    })
  }

  release(owner: string): Promise<void> {
    for (const [port, entry] of this.book) if (entry.owner === owner) this.book.delete(port)
    return Promise.resolve()
  }
}
