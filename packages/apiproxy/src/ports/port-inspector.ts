/**
 * Publishes on the host what containers and services publish in the guest: requests by clients of the proxy before they are answered,
 * and everything else (restart policies, other clients, the engine itself) by `/events`, and by lists after each (re)connect.
 */

import { isNetkitError } from '@netkit/core'
import type { Clock, PortError } from '@netkit/core'
import type { ApiTarget } from '../api-target.ts'
import { apiTrouble } from '../diagnostics.ts'
import type { ApiTroubleEvent } from '../diagnostics.ts'
import { EngineClient } from '../engine/engine-client.ts'
import { engineDialer, pause } from '../engine/engine-dialer.ts'
import type { EngineOptions } from '../engine/engine-dialer.ts'
import type { Inspection, Inspector } from '../inspection.ts'
import { DIAL_DEADLINE_MS, EVENTS_RETRY_MS } from '../limits.ts'
import { ContainerPublishing } from './container-publishing.ts'
import { Publications } from './publications.ts'
import type { PublicationOptions } from './publications.ts'
import { portAnswers } from './published-answers.ts'
import { ServicePublishing } from './service-publishing.ts'

/** Options of `inspectPorts`. */
export interface PortInspectorOptions extends PublicationOptions {
  readonly engine: EngineOptions
  /** What went wrong where no client asked; the same goes to the channel `netkit:apiproxy:trouble`. */
  readonly onTrouble?: (event: ApiTroubleEvent) => void
}

/** Publishes containers' ports; runs until it is closed. */
export interface PortInspector extends Inspector, AsyncDisposable {
  /** Resolves when the engine's containers and services have been compared for the first time. */
  readonly synced: Promise<void>
  /** Compares all containers and services with what is held, now. */
  sync(): Promise<void>
  /** Ids of the containers and services that hold ports. */
  owners(): string[]
  /** Gives all ports back. Idempotent. */
  close(): Promise<void>
}

/** Makes the inspector, and begins to follow the engine. */
export function inspectPorts(options: PortInspectorOptions): PortInspector {
  return new RunningPortInspector(options)
}

const starting = /^\/containers\/([^/]+)\/(?:start|restart|unpause)$/
const changing = /^\/containers\/([^/]+)\/(?:stop|kill|update|rename)$/
const container = /^\/containers\/([^/]+)$/
const network = /^\/networks\/[^/]+\/(connect|disconnect)$/
const serviceUpdate = /^\/services\/([^/]+)\/update$/
const service = /^\/services\/([^/]+)$/

interface EngineEvent {
  readonly Type?: string
  readonly Action?: string
  readonly Actor?: { readonly ID?: string; readonly Attributes?: { readonly container?: string } }
}

const containerActions = new Set(['start', 'die', 'destroy', 'unpause', 'update', 'rename'])
const FILTERS = encodeURIComponent(JSON.stringify({ type: ['container', 'network', 'service'] }))

class RunningPortInspector implements PortInspector {
  readonly synced: Promise<void>
  readonly #options: PortInspectorOptions
  readonly #publications: Publications
  readonly #containers: ContainerPublishing
  readonly #services: ServicePublishing
  readonly #client: EngineClient
  readonly #follower: EngineClient
  readonly #clock: Clock
  readonly #end = new AbortController()
  readonly #following: Promise<void>
  #firstSync: (() => void) | undefined

  constructor(options: PortInspectorOptions) {
    this.#options = options
    const publications = new Publications(options)
    const dialer = engineDialer(options.engine)
    const client = new EngineClient(dialer)
    const parts = { publications, client, signal: this.#end.signal }
    this.#publications = publications
    this.#client = client
    this.#containers = new ContainerPublishing(parts)
    this.#services = new ServicePublishing(parts)
    this.#clock = dialer.clock
    // Following has its own pauses.
    this.#follower = new EngineClient(engineDialer({ ...options.engine, dialDeadlineMs: 0 }))
    this.synced = new Promise((resolve) => {
      this.#firstSync = resolve
    })
    this.#following = this.#follow()
  }

  inspect({ method, path }: ApiTarget): Inspection | undefined {
    if (method === 'POST') return this.#inspectPost(path)
    if (method === 'GET') return portAnswers.test(path) ? this.#containers.answer() : undefined
    if (method !== 'DELETE') return undefined
    const removed = container.exec(path)?.[1]
    if (removed !== undefined) return this.#containers.removal(removed)
    const removedService = service.exec(path)?.[1]
    return removedService === undefined ? undefined : this.#services.removal(removedService)
  }

  #inspectPost(path: string): Inspection | undefined {
    if (path === '/containers/create') return this.#containers.create()
    const started = starting.exec(path)?.[1]
    if (started !== undefined) return this.#containers.aroundStart(() => started)
    const changed = changing.exec(path)?.[1]
    if (changed !== undefined) return this.#containers.afterwards(() => changed)
    const [, verb] = network.exec(path) ?? []
    if (verb === 'connect') {
      const around = this.#containers.aroundStart(bodyContainer, { onlyRunning: true })
      return { ...around, wantsBody: true }
    }
    if (verb === 'disconnect')
      return { ...this.#containers.afterwards(bodyContainer), wantsBody: true }
    if (path === '/services/create') return this.#services.change()
    const updated = serviceUpdate.exec(path)?.[1]
    return updated === undefined ? undefined : this.#services.change(updated)
  }

  owners(): string[] {
    return this.#publications.owners.map(({ id }) => id)
  }

  async sync(): Promise<void> {
    const { status, json } = await this.#client.call('GET', '/containers/json', this.#end.signal)
    if (status !== 200 || !Array.isArray(json)) throw new Error(`the engine answered ${status}`)
    const running = (json as { Id: string }[]).map(({ Id }) => Id)
    const services = await this.#services.list()
    const held = this.#publications.owners
    const isGone = ({ id }: { id: string }): boolean =>
      !running.includes(id) && !services.includes(id)
    // Releases first: a port may have moved from one to another.
    for (const { id, kind } of held.filter(isGone)) await this.#syncOne(kind, id)
    for (const id of running) await this.#syncOne('container', id)
    for (const id of services) await this.#syncOne('service', id)
  }

  async close(): Promise<void> {
    this.#end.abort(new Error('the port inspector was closed'))
    await this.#following
    await this.#publications.releaseAll()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Never rejects: nobody waits for what happens by itself. */
  async #syncOne(kind: 'container' | 'service', id: string): Promise<void> {
    try {
      await (kind === 'container' ? this.#containers : this.#services).sync(id)
    } catch (error) {
      if (this.#end.signal.aborted) return
      const isPort = (error as PortError).dockerMessage !== undefined || isNetkitError(error)
      this.#trouble({ what: isPort ? 'port-conflict' : 'sync-failed', container: id, error })
    }
  }

  async #follow(): Promise<void> {
    const { signal } = this.#end
    let [pauseMs] = EVENTS_RETRY_MS
    // An engine that boots is no trouble until it takes too long, and one that is gone is one trouble, however often it is tried.
    let troubleAt = this.#clock.now() + DIAL_DEADLINE_MS
    while (!signal.aborted) {
      try {
        await this.#follower.follow(
          `/events?filters=${FILTERS}`,
          () => {
            troubleAt = this.#clock.now()
            ;[pauseMs] = EVENTS_RETRY_MS
            // Listed after the stream stands: what happens in between is told by an event.
            void this.#syncAll()
          },
          (event) => this.#event(event as EngineEvent),
          signal,
        )
      } catch (error) {
        if (signal.aborted) return
        if (this.#clock.now() >= troubleAt) {
          this.#trouble({ what: 'engine-unreachable', error })
          troubleAt = Infinity
        }
      }
      await pause(this.#clock, pauseMs, signal)
      pauseMs = Math.min(pauseMs * 2, EVENTS_RETRY_MS[1])
    }
  }

  async #syncAll(): Promise<void> {
    try {
      await this.sync()
      this.#firstSync?.()
    } catch (error) {
      if (!this.#end.signal.aborted) this.#trouble({ what: 'sync-failed', error })
    }
  }

  #event({ Type, Action, Actor }: EngineEvent): void {
    if (Type === 'container' && Actor?.ID !== undefined && containerActions.has(Action ?? ''))
      void this.#syncOne('container', Actor.ID)
    if (Type === 'service' && Actor?.ID !== undefined) void this.#syncOne('service', Actor.ID)
    const attached = Type === 'network' ? Actor?.Attributes?.container : undefined
    if (attached !== undefined) void this.#syncOne('container', attached)
  }

  #trouble(event: ApiTroubleEvent): void {
    this.#options.onTrouble?.(event)
    if (apiTrouble.hasSubscribers) apiTrouble.publish(event)
  }
}

/** `Container` of a network request; keys match without case, as the engine's decoder has it. */
function bodyContainer(body: Uint8Array): string | undefined {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder().decode(body))
  } catch {
    return undefined
  }
  if (typeof json !== 'object' || json === null) return undefined
  const [, value] =
    Object.entries(json).findLast(([key]) => key.toLowerCase() === 'container') ?? []
  return typeof value === 'string' ? value : undefined
}
