/**
 * Which ports of the host are held for which container or service.
 *
 * ```
 *            reserve (before start)            commit (engine said yes)
 *   nothing ────────────────────────▶ reserved ──────────────────────▶ published ──▶ nothing
 *                                        └── abort (engine said no, or never answered) ──▶   when it dies, by sync
 * ```
 *
 * Idempotent: what is held already is kept, with its connections. Calls for one owner run one after the other.
 */

import type { PortError, PortPublisher, PortReservation, PortTarget } from '@netkit/core'
import { START_RESERVATION_MS } from '../limits.ts'
import { bindingKey, bindingRequest } from './container-ports.ts'
import type { PortOwner, PublishedBinding } from './container-ports.ts'

/** Where a published port leads. */
export interface PublicationOptions {
  readonly publisher: PortPublisher
  /** The way into the guest for one binding: dial the guest at `hostPort`, where the engine has bound it. */
  target(binding: PublishedBinding, owner: string): PortTarget | Promise<PortTarget>
  /** Addresses for `-p 80:80`, which names none. Default: the publisher's own, loopback. */
  readonly defaultIp?: string | readonly string[]
}

/** Ports that are reserved and wait for the engine's word. */
export interface PendingPublication {
  readonly bindings: readonly PublishedBinding[]
  /** @param id - The owner's, where it was not known before. */
  commit(id?: string): Promise<void>
  abort(): Promise<void>
}

/** The book of published ports. */
export class Publications {
  readonly #options: PublicationOptions
  readonly #held = new Map<string, { owner: PortOwner; ports: Map<string, PortReservation> }>()
  readonly #turns = new Map<string, Promise<void>>()
  /** Reservations whose number on the host is not the guest's. */
  readonly #moved = new Map<PortReservation, number>()

  constructor(options: PublicationOptions) {
    this.#options = options
  }

  /** Who holds ports. */
  get owners(): PortOwner[] {
    return [...this.#held.values()].map(({ owner }) => owner)
  }

  /** Whether any port has another number on the host than in the guest. */
  get anyMoved(): boolean {
    return this.#moved.size > 0
  }

  /** The number of the host's for a binding, where it is not the guest's. */
  movedPort(owner: string, binding: PublishedBinding): number | undefined {
    const reservation = this.#held.get(owner)?.ports.get(bindingKey(binding))
    return reservation && this.#moved.get(reservation)
  }

  /** Waits for its turn with an owner; `end` what it gives to let the next one in. */
  async turn(owner: string): Promise<() => void> {
    const before = this.#turns.get(owner)
    let end: (() => void) | undefined
    const own = new Promise<void>((resolve) => {
      end = resolve
    })
    this.#turns.set(owner, own)
    await before
    return () => {
      if (this.#turns.get(owner) === own) this.#turns.delete(owner)
      end?.()
    }
  }

  /**
   * Binds what the owner does not hold yet: all or nothing.
   *
   * @throws PortError
   */
  async reserve(
    { id, name, kind }: PortOwner,
    bindings: readonly PublishedBinding[],
    signal?: AbortSignal,
  ): Promise<PendingPublication> {
    const held = this.#held.get(id)?.ports
    const missing = bindings.filter((binding) => held?.has(bindingKey(binding)) !== true)
    const ownerText = `${kind} ${name}${id === '' ? '' : ` (${id.slice(0, 12)})`}`
    const reserved: { binding: PublishedBinding; reservation: PortReservation }[] = []
    const abort = async (): Promise<void> => {
      for (const { binding, reservation } of reserved) {
        this.#held.get(id)?.ports.delete(bindingKey(binding))
        await this.#giveBack(reservation)
      }
    }
    try {
      for (const binding of missing)
        reserved.push({ binding, reservation: await this.#reserveOne(binding, ownerText, signal) })
    } catch (error) {
      await abort()
      throw error
    }
    return {
      bindings: missing,
      abort,
      commit: async (finalId = id) => {
        const owner = { id: finalId, name, kind }
        try {
          const targets = await Promise.all(
            reserved.map(async ({ binding }) => this.#options.target(binding, finalId)),
          )
          for (const [i, { binding, reservation }] of reserved.entries()) {
            await reservation.commit(targets.slice(i, i + 1))
            const own = this.#held.get(finalId) ?? { owner, ports: new Map() }
            own.ports.set(bindingKey(binding), reservation)
            this.#held.set(finalId, own)
          }
        } catch (error) {
          // Half of it is nothing: what is not in the book nobody would ever give back.
          await abort()
          throw error
        }
      },
    }
  }

  /** The guest's number where it is free on the host, else the next one that will do. */
  async #reserveOne(
    binding: PublishedBinding,
    owner: string,
    signal: AbortSignal | undefined,
  ): Promise<PortReservation> {
    const { publisher, defaultIp } = this.#options
    const attempt = (port: number): Promise<PortReservation> =>
      publisher.reserve([bindingRequest(binding, port, defaultIp)], {
        owner,
        ttlMs: START_RESERVATION_MS,
        ...(signal && { signal }),
      })
    const [first, last] = binding.others ?? [1, 0]
    let failure: unknown
    try {
      return await attempt(binding.hostPort)
    } catch (error) {
      if (!isTaken(error)) throw error
      failure = error
    }
    for (let port = first; port <= last; port++) {
      if (port === binding.hostPort && port !== 0) continue
      try {
        const reservation = await attempt(port)
        this.#moved.set(reservation, reservation.ports[0]?.port ?? port)
        return reservation
      } catch (error) {
        if (!isTaken(error)) throw error
      }
    }
    throw failure
  }

  async #giveBack(reservation: PortReservation): Promise<void> {
    this.#moved.delete(reservation)
    await reservation.abort()
  }

  /** Gives back what the owner holds and `wanted` does not name. */
  async keepOnly(owner: string, wanted: readonly PublishedBinding[]): Promise<void> {
    const held = this.#held.get(owner)?.ports
    if (held === undefined) return
    const keys = new Set(wanted.map(bindingKey))
    for (const [key, reservation] of held) {
      if (keys.has(key)) continue
      held.delete(key)
      await this.#giveBack(reservation)
    }
    if (held.size === 0) this.#held.delete(owner)
  }

  /** Gives everything back. */
  async releaseAll(): Promise<void> {
    await Promise.all(this.owners.map(({ id }) => this.keepOnly(id, [])))
  }
}

/** Somebody has the port, or the system keeps it (Windows' excluded ranges): another number may be free. */
const isTaken = (error: unknown): boolean =>
  ['EADDRINUSE', 'EACCES', 'EXCLUDED_RANGE'].includes((error as PortError).code)
