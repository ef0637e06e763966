/**
 * Publishes on the host what containers publish in the guest.
 *
 * ```
 *   start, restart, unpause,      ──▶ inspect ──▶ reserve the numbers that are known ──▶ engine ──▶ commit, and the numbers it chose
 *   network connect                                │ taken: the engine's own words, and who holds it; the engine is not asked
 *   stop, kill, rm, disconnect, update, rename ──▶ engine ──▶ inspect, give back what is no longer bound
 *   everybody else (restart policies, other clients, the engine itself) ──▶ /events, and /containers/json after each (re)connect
 * ```
 *
 * A number that the engine chooses (`-P`, an empty host port, a range) is reserved right after the start and before the client is
 * told. If the host cannot give that number, the container is stopped again and the client reads why: let the guest draw from a
 * range that the host leaves free (`net.ipv4.ip_local_port_range`) and that does not happen.
 */

import { errorCode, isNetkitError } from '@netkit/core'
import type { Clock, PortError } from '@netkit/core'
import type { ApiTarget } from '../api-target.ts'
import { apiTrouble } from '../diagnostics.ts'
import type { ApiTroubleEvent } from '../diagnostics.ts'
import { EngineClient } from '../engine/engine-client.ts'
import { engineDialer, pause } from '../engine/engine-dialer.ts'
import type { EngineOptions } from '../engine/engine-dialer.ts'
import type { Answer } from '../http/answer.ts'
import type { Inspection, Inspector, Outcome } from '../inspection.ts'
import { EVENTS_RETRY_MS } from '../limits.ts'
import { containerPorts } from './container-ports.ts'
import type { ContainerPorts } from './container-ports.ts'
import { Publications } from './publications.ts'
import type { PendingPublication, PublicationOptions } from './publications.ts'

/** Options of `inspectPorts`. */
export interface PortInspectorOptions extends PublicationOptions {
  readonly engine: EngineOptions
  /** What went wrong where no client asked; the same goes to the channel `netkit:apiproxy:trouble`. */
  readonly onTrouble?: (event: ApiTroubleEvent) => void
}

/** Publishes containers' ports; runs until it is closed. */
export interface PortInspector extends Inspector, AsyncDisposable {
  /** Resolves when the engine's containers have been compared for the first time. */
  readonly synced: Promise<void>
  /** Compares all containers with what is held, now. */
  sync(): Promise<void>
  /** Containers that hold ports. */
  containers(): string[]
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

interface EngineEvent {
  readonly Type?: string
  readonly Action?: string
  readonly Actor?: { readonly ID?: string; readonly Attributes?: { readonly container?: string } }
}

const containerActions = new Set(['start', 'die', 'destroy', 'unpause', 'update', 'rename'])
const FILTERS = encodeURIComponent(JSON.stringify({ type: ['container', 'network'] }))

class RunningPortInspector implements PortInspector {
  readonly synced: Promise<void>
  readonly #options: PortInspectorOptions
  readonly #publications: Publications
  readonly #client: EngineClient
  readonly #follower: EngineClient
  readonly #clock: Clock
  readonly #end = new AbortController()
  readonly #following: Promise<void>
  #firstSync: (() => void) | undefined

  constructor(options: PortInspectorOptions) {
    this.#options = options
    this.#publications = new Publications(options)
    const dialer = engineDialer(options.engine)
    this.#clock = dialer.clock
    this.#client = new EngineClient(dialer)
    // Following has its own pauses.
    this.#follower = new EngineClient(engineDialer({ ...options.engine, dialDeadlineMs: 0 }))
    this.synced = new Promise((resolve) => {
      this.#firstSync = resolve
    })
    this.#following = this.#follow()
  }

  inspect(target: ApiTarget): Inspection | undefined {
    const { method, path } = target
    if (method === 'POST') {
      const started = starting.exec(path)?.[1]
      if (started !== undefined) return this.#aroundStart(() => started)
      const changed = changing.exec(path)?.[1]
      if (changed !== undefined) return this.#afterwards(() => changed)
      const [, verb] = network.exec(path) ?? []
      if (verb === 'connect')
        return { ...this.#aroundStart(bodyContainer, { onlyRunning: true }), wantsBody: true }
      if (verb === 'disconnect') return { ...this.#afterwards(bodyContainer), wantsBody: true }
    }
    const removed = method === 'DELETE' ? container.exec(path)?.[1] : undefined
    return removed === undefined ? undefined : this.#afterwards(() => removed)
  }

  containers(): string[] {
    return this.#publications.containers
  }

  async sync(): Promise<void> {
    const { status, json } = await this.#client.call('GET', '/containers/json', this.#end.signal)
    if (status !== 200 || !Array.isArray(json)) throw new Error(`the engine answered ${status}`)
    const running = (json as { Id: string }[]).map(({ Id }) => Id)
    const all = new Set([...running, ...this.#publications.containers])
    // Releases first: a port may have moved from one container to another.
    const order = [...all].toSorted((a, b) => +running.includes(a) - +running.includes(b))
    for (const id of order) await this.#syncContainer(id)
  }

  async close(): Promise<void> {
    this.#end.abort(new Error('the port inspector was closed'))
    await this.#following
    await this.#publications.releaseAll()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Reserve, let the engine start, commit. */
  #aroundStart(
    which: (body: Uint8Array) => string | undefined,
    options: { onlyRunning?: boolean } = {},
  ): Inspection {
    let endTurn: (() => void) | undefined
    let ports: ContainerPorts | undefined
    let pending: PendingPublication | undefined
    const finish = (): void => endTurn?.()
    return {
      before: async ({ body, signal }) => {
        const name = which(body)
        const found = name === undefined ? undefined : await this.#container(name, signal)
        // The engine says best what is wrong with a name.
        if (found === undefined) return undefined
        if (options.onlyRunning === true && !found.running) return undefined
        endTurn = await this.#publications.turn(found.id)
        ports = found
        try {
          pending = await this.#reserve(found, found.fixed, signal)
        } catch (error) {
          finish()
          return { answer: conflictAnswer(error, found) }
        }
        return undefined
      },
      after: async ({ status }) => {
        try {
          if (ports === undefined || pending === undefined) return undefined
          if (status >= 400) {
            await pending.abort()
            return undefined
          }
          await pending.commit()
          return ports.hasDynamic ? await this.#publishChosen(ports) : undefined
        } finally {
          finish()
        }
      },
      lost: async () => {
        await pending?.abort()
        finish()
        // The engine may have started it before it fell silent.
        if (ports !== undefined) void this.#syncContainer(ports.id)
      },
    }
  }

  /** The engine has chosen numbers: the same ones are bound here, or the container does not stay. */
  async #publishChosen(ports: ContainerPorts): Promise<Outcome> {
    const now = await this.#container(ports.id)
    if (now === undefined) return undefined
    try {
      await this.#publications.keepOnly(now.id, now.bound)
      const chosen = await this.#reserve(now, now.bound)
      await chosen.commit()
      return undefined
    } catch (error) {
      await this.#client.call('POST', `/containers/${ports.id}/stop?t=0`, this.#end.signal)
      await this.#publications.keepOnly(ports.id, [])
      return { answer: conflictAnswer(error, now) }
    }
  }

  async #reserve(
    ports: ContainerPorts,
    bindings: ContainerPorts['bound'],
    signal?: AbortSignal,
  ): Promise<PendingPublication> {
    try {
      return await this.#publications.reserve(ports, bindings, signal)
    } catch (error) {
      // Held by a container of ours that may be gone since: its event is perhaps still on the way.
      if ((error as PortError).holder?.kind !== 'lease') throw error
      await this.#releaseStopped(ports.id)
      return this.#publications.reserve(ports, bindings, signal)
    }
  }

  async #releaseStopped(except: string): Promise<void> {
    for (const id of this.#publications.containers) {
      if (id === except) continue
      const other = await this.#container(id)
      if (other?.running !== true) await this.#publications.keepOnly(id, [])
    }
  }

  #afterwards(which: (body: Uint8Array) => string | undefined): Inspection {
    let id: string | undefined
    return {
      before: async ({ body, signal }) => {
        const name = which(body)
        // Asked now: after a removal nobody knows the name any more.
        if (name !== undefined) id = (await this.#container(name, signal))?.id
        return undefined
      },
      after: async () => {
        if (id !== undefined) await this.#syncContainer(id)
        return undefined
      },
    }
  }

  async #container(name: string, signal?: AbortSignal): Promise<ContainerPorts | undefined> {
    const { status, json } = await this.#client.call(
      'GET',
      `/containers/${encodeURIComponent(name)}/json`,
      signal ?? this.#end.signal,
    )
    return status === 200 ? containerPorts(json) : undefined
  }

  /** Makes what is held be what the engine has bound. Never rejects. */
  async #syncContainer(id: string): Promise<void> {
    const endTurn = await this.#publications.turn(id)
    try {
      const ports = await this.#container(id)
      const bound = ports?.bound ?? []
      await this.#publications.keepOnly(id, bound)
      if (ports === undefined || bound.length === 0) return
      const pending = await this.#reserve(ports, bound)
      await pending.commit()
    } catch (error) {
      if (this.#end.signal.aborted) return
      const isPort = (error as PortError).dockerMessage !== undefined || isNetkitError(error)
      this.#trouble({ what: isPort ? 'port-conflict' : 'sync-failed', container: id, error })
    } finally {
      endTurn()
    }
  }

  async #follow(): Promise<void> {
    const { signal } = this.#end
    let [pauseMs] = EVENTS_RETRY_MS
    while (!signal.aborted) {
      try {
        await this.#follower.follow(
          `/events?filters=${FILTERS}`,
          () => {
            ;[pauseMs] = EVENTS_RETRY_MS
            // Listed after the stream stands: what happens in between is told by an event.
            void this.#syncAll()
          },
          (event) => this.#event(event as EngineEvent),
          signal,
        )
      } catch (error) {
        if (signal.aborted) return
        this.#trouble({ what: 'engine-unreachable', error })
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
      void this.#syncContainer(Actor.ID)
    const attached = Type === 'network' ? Actor?.Attributes?.container : undefined
    if (attached !== undefined) void this.#syncContainer(attached)
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

/** In the engine's own words, so that whoever looks for them finds them. */
function conflictAnswer(error: unknown, { name, id }: ContainerPorts): Answer {
  const why =
    (error as PortError).dockerMessage ??
    (error instanceof Error ? error.message : (errorCode(error) ?? 'unknown failure'))
  return {
    status: 500,
    message: `failed to set up container networking: driver failed programming external connectivity on endpoint ${name} (${id}): ${why}`,
  }
}
