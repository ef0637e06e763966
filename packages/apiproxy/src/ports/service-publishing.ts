/**
 * The ports of Swarm services.
 *
 * ```
 *   create, update ──▶ reserve the ingress ports with a number ──▶ engine ──▶ commit, or give back
 *   rm             ──▶ engine ──▶ give back
 *   the number was the engine's to choose, or another client did it ──▶ /events, GET /services
 * ```
 *
 * A port of mode `host` belongs to the task's container, which is followed like any other; here it is only tried, so that a number
 * that is taken is told at once.
 */

import type { PortError } from '@netkit/core'
import type { EngineClient } from '../engine/engine-client.ts'
import type { Inspection } from '../inspection.ts'
import type { PortOwner, PublishedBinding } from './container-ports.ts'
import type { PublishingParts } from './container-publishing.ts'
import type { PendingPublication } from './publications.ts'

interface ServicePort {
  readonly Protocol?: string
  readonly TargetPort?: number
  readonly PublishedPort?: number
  readonly PublishMode?: string
}

interface ServiceSpec {
  readonly Name?: string
  readonly EndpointSpec?: { readonly Ports?: readonly ServicePort[] | null } | null
}

interface Service {
  readonly ID?: string
  readonly Spec?: ServiceSpec
  readonly Endpoint?: { readonly Ports?: readonly ServicePort[] | null } | null
}

/** Publishes for services. */
export class ServicePublishing {
  readonly #parts: PublishingParts

  constructor(parts: PublishingParts) {
    this.#parts = parts
  }

  /** Around a create, or the update of `name`. */
  change(name?: string): Inspection {
    let owner: PortOwner = { kind: 'service', id: '', name: '' }
    let ingress: PendingPublication | undefined
    let tried: PendingPublication | undefined
    return {
      wantsBody: true,
      wantsResponse: true,
      before: async ({ body, signal }) => {
        const spec = readJson(body) as ServiceSpec | undefined
        const ports = spec?.EndpointSpec?.Ports ?? []
        const found = name === undefined ? undefined : await this.#service(name, signal)
        owner = { kind: 'service', id: found?.ID ?? '', name: spec?.Name ?? '' }
        try {
          ingress = await this.#parts.publications.reserve(
            owner,
            bindings(ports, 'ingress'),
            signal,
          )
          tried = await this.#parts.publications.reserve(owner, newHostPorts(ports, found), signal)
        } catch (error) {
          await ingress?.abort()
          const why = (error as PortError).dockerMessage ?? (error as Error).message
          return { answer: { status: 500, message: `service ${owner.name}: ${why}` } }
        }
        return undefined
      },
      after: async ({ status, body }) => {
        await tried?.abort()
        if (status >= 400) {
          await ingress?.abort()
          return undefined
        }
        const created = readJson(body) as { ID?: string } | undefined
        owner = { ...owner, id: owner.id || (created?.ID ?? '') }
        await ingress?.commit(owner.id)
        await this.sync(owner.id).catch(() => {})
        return undefined
      },
      lost: async () => {
        await tried?.abort()
        await ingress?.abort()
      },
    }
  }

  /** After the removal of `name`. */
  removal(name: string): Inspection {
    let id: string | undefined
    return {
      before: async ({ signal }) => {
        id = (await this.#service(name, signal))?.ID
        return undefined
      },
      after: async () => {
        if (id !== undefined) await this.sync(id).catch(() => {})
        return undefined
      },
    }
  }

  /** Ids of all services; none where the engine is no manager of a swarm. */
  async list(): Promise<string[]> {
    const { status, json } = await this.#parts.client.call('GET', '/services', this.#parts.signal)
    if (status !== 200 || !Array.isArray(json)) return []
    return (json as Service[]).map(({ ID = '' }) => ID)
  }

  /**
   * Makes what is held be what the service publishes.
   *
   * @throws PortError; whatever keeps the engine from being asked.
   */
  async sync(id: string): Promise<void> {
    const { publications } = this.#parts
    const endTurn = await publications.turn(id)
    try {
      const service = await this.#service(id)
      const wanted = bindings(service?.Endpoint?.Ports ?? [], 'ingress')
      await publications.keepOnly(id, wanted)
      if (wanted.length === 0) return
      const owner: PortOwner = { kind: 'service', id, name: service?.Spec?.Name ?? '' }
      const pending = await publications.reserve(owner, wanted)
      await pending.commit(id)
    } finally {
      endTurn()
    }
  }

  async #service(name: string, signal?: AbortSignal): Promise<Service | undefined> {
    const { client } = this.#parts
    return askService(client, name, signal ?? this.#parts.signal)
  }
}

async function askService(
  client: EngineClient,
  name: string,
  signal: AbortSignal,
): Promise<Service | undefined> {
  const { status, json } = await client.call('GET', `/services/${encodeURIComponent(name)}`, signal)
  return status === 200 ? (json as Service) : undefined
}

/** The ports of one mode that have a number. */
function bindings(ports: readonly ServicePort[], mode: 'ingress' | 'host'): PublishedBinding[] {
  return ports
    .filter(
      ({ PublishMode = 'ingress', PublishedPort = 0 }) => PublishMode === mode && PublishedPort > 0,
    )
    .map(({ Protocol = 'tcp', TargetPort = 0, PublishedPort = 0 }) => ({
      protocol: Protocol,
      containerPort: TargetPort,
      hostIp: '',
      hostPort: PublishedPort,
    }))
}

/** What an update adds: a task that runs holds what the service had before. */
function newHostPorts(
  ports: readonly ServicePort[],
  before: Service | undefined,
): PublishedBinding[] {
  const held = bindings(before?.Spec?.EndpointSpec?.Ports ?? [], 'host')
  return bindings(ports, 'host').filter(
    ({ protocol, hostPort }) =>
      !held.some((one) => one.protocol === protocol && one.hostPort === hostPort),
  )
}

function readJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body)) as unknown
  } catch {
    return undefined
  }
}
