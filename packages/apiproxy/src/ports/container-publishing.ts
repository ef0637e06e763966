/**
 * The ports of containers, around the requests that start and end them.
 *
 * ```
 *   create                        ──▶ the host's own addresses move into a label ──▶ engine
 *   start, restart, unpause,      ──▶ inspect ──▶ reserve the numbers that are known ──▶ engine ──▶ commit, and the numbers it chose
 *   network connect                                │ taken: the engine's own words, and who holds it; the engine is not asked
 *   stop, kill, rm, disconnect, update, rename ──▶ engine ──▶ inspect, give back what is no longer bound
 *   inspect, list                 ◀── the addresses and numbers of the host ◀── engine
 * ```
 *
 * A number that the engine chooses (`-P`, an empty host port, a range) is known after the start only. If the host has it in use, it
 * publishes another one that will do, and clients read that one. If there is none, the container is stopped again and the client reads
 * why.
 */

import { errorCode } from '@netkit/core'
import type { PortError } from '@netkit/core'
import type { EngineAnswer, EngineClient } from '../engine/engine-client.ts'
import type { Answer } from '../http/answer.ts'
import type { Inspection, Outcome } from '../inspection.ts'
import { JsonDocument } from '../json/json-document.ts'
import { moveHostIps } from './asked-host-ips.ts'
import { containerPorts } from './container-ports.ts'
import type { ContainerPorts, PortOwner } from './container-ports.ts'
import type { PendingPublication, Publications } from './publications.ts'
import { hostAnswer } from './published-answers.ts'

/** What the publishing of containers and services works with. */
export interface PublishingParts {
  readonly publications: Publications
  readonly client: EngineClient
  /** Aborts when the inspector is closed. */
  readonly signal: AbortSignal
}

/** Which container a request is about: a name or an id. */
export type WhichContainer = (body: Uint8Array) => string | undefined

/** Publishes for containers. */
export class ContainerPublishing {
  readonly #parts: PublishingParts

  constructor(parts: PublishingParts) {
    this.#parts = parts
  }

  /** Before a create. A body that the engine could read in another way than this is refused. */
  create(): Inspection {
    return {
      wantsBody: true,
      before({ body }) {
        let document: JsonDocument
        try {
          document = new JsonDocument(body)
          moveHostIps(document.root)
        } catch (error) {
          if (errorCode(error) !== 'NETKIT_API_JSON') throw error
          const message = `The request is refused, and was not passed on: ${(error as Error).message}.`
          return Promise.resolve({ answer: { status: 400, message } })
        }
        return Promise.resolve(document.changed ? { body: document.bytes() } : undefined)
      },
    }
  }

  /** Answers that tell of ports. */
  answer(): Inspection {
    const { publications } = this.#parts
    return {
      wantsResponse: true,
      after({ status, body }) {
        if (status !== 200) return Promise.resolve(undefined)
        const edited = hostAnswer(body, publications)
        return Promise.resolve(edited && { body: edited })
      },
    }
  }

  /** Reserve, let the engine start, commit. */
  aroundStart(which: WhichContainer, options: { onlyRunning?: boolean } = {}): Inspection {
    const { publications } = this.#parts
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
        endTurn = await publications.turn(found.id)
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
        if (ports !== undefined) void this.sync(ports.id).catch(() => {})
      },
    }
  }

  /** Something ended or changed: what is no longer bound is given back before the client is told. */
  afterwards(which: WhichContainer): Inspection {
    return this.#followed(which, (id) => this.sync(id))
  }

  /**
   * A container is removed: once the engine has said so it is not asked about it again, which podman now and then answers with an
   * internal error.
   */
  removal(name: string): Inspection {
    return this.#followed(
      () => name,
      (id, status) => (status < 400 ? this.#release(id) : this.sync(id)),
    )
  }

  #followed(
    which: WhichContainer,
    follow: (id: string, status: number) => Promise<void>,
  ): Inspection {
    let id: string | undefined
    return {
      before: async ({ body, signal }) => {
        const name = which(body)
        // Asked now: after a removal nobody knows the name any more.
        if (name !== undefined) id = (await this.#container(name, signal))?.id
        return undefined
      },
      after: async ({ status }) => {
        if (id !== undefined) await follow(id, status).catch(() => {})
        return undefined
      },
    }
  }

  async #release(id: string): Promise<void> {
    const { publications } = this.#parts
    const endTurn = await publications.turn(id)
    try {
      await publications.keepOnly(id, [])
    } finally {
      endTurn()
    }
  }

  /**
   * Makes what is held be what the engine has bound.
   *
   * @throws PortError; whatever keeps the engine from being asked.
   */
  async sync(id: string): Promise<void> {
    const { publications } = this.#parts
    const endTurn = await publications.turn(id)
    try {
      const ports = await this.#known(id)
      const bound = ports?.bound ?? []
      await publications.keepOnly(id, bound)
      if (ports === undefined || bound.length === 0) return
      const pending = await this.#reserve(ports, bound)
      await pending.commit()
    } finally {
      endTurn()
    }
  }

  /** The engine has chosen numbers: they are published, or the container does not stay. */
  async #publishChosen(ports: ContainerPorts): Promise<Outcome> {
    const { client, publications, signal } = this.#parts
    const now = await this.#container(ports.id)
    if (now === undefined) return undefined
    try {
      await publications.keepOnly(now.id, now.bound)
      const chosen = await this.#reserve(now, now.bound)
      await chosen.commit()
      return undefined
    } catch (error) {
      await client.call('POST', `/containers/${ports.id}/stop?t=0`, signal)
      await publications.keepOnly(ports.id, [])
      return { answer: conflictAnswer(error, now) }
    }
  }

  async #reserve(
    ports: ContainerPorts,
    bindings: ContainerPorts['bound'],
    signal?: AbortSignal,
  ): Promise<PendingPublication> {
    const { publications } = this.#parts
    try {
      return await publications.reserve(ports, bindings, signal)
    } catch (error) {
      // Held by a container of ours that may be gone since: its event is perhaps still on the way.
      if ((error as PortError).holder?.kind !== 'lease') throw error
      await this.#releaseStopped(ports.id)
      return publications.reserve(ports, bindings, signal)
    }
  }

  async #releaseStopped(except: string): Promise<void> {
    const { publications } = this.#parts
    for (const owner of publications.owners) {
      if (owner.kind !== 'container' || owner.id === except) continue
      const other = await this.#known(owner.id)
      if (other?.running !== true) await publications.keepOnly(owner.id, [])
    }
  }

  /** What the engine knows by a client's name for it; what is wrong with the name, the engine says best itself. */
  async #container(name: string, signal?: AbortSignal): Promise<ContainerPorts | undefined> {
    const { status, json } = await this.#inspect(name, signal)
    return status === 200 ? containerPorts(json) : undefined
  }

  /** A container that we know; `undefined` only when the engine says that there is none. */
  async #known(id: string): Promise<ContainerPorts | undefined> {
    const { status, json } = await this.#inspect(id)
    if (status === 404) return undefined
    if (status === 200 && typeof json === 'object') return containerPorts(json)
    throw new Error(`the engine answered ${status} when asked for container ${id}`)
  }

  #inspect(name: string, signal?: AbortSignal): Promise<EngineAnswer> {
    const path = `/containers/${encodeURIComponent(name)}/json`
    return this.#parts.client.call('GET', path, signal ?? this.#parts.signal)
  }
}

/** In the engine's own words, so that whoever looks for them finds them. */
export function conflictAnswer(error: unknown, { name, id }: PortOwner): Answer {
  const why =
    (error as PortError).dockerMessage ??
    (error instanceof Error ? error.message : (errorCode(error) ?? 'unknown failure'))
  return {
    status: 500,
    message: `failed to set up container networking: driver failed programming external connectivity on endpoint ${name} (${id}): ${why}`,
  }
}
