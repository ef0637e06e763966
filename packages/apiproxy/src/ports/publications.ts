/**
 * Which ports of the host are held for which container.
 *
 * ```
 *            reserve (before start)            commit (engine said yes)
 *   nothing ────────────────────────▶ reserved ──────────────────────▶ published ──▶ nothing
 *                                        └── abort (engine said no, or never answered) ──▶   when it dies, by sync
 * ```
 *
 * Idempotent: what is held already is kept, with its connections. Calls for one container run one after the other.
 */

import type { PortPublisher, PortReservation, PortTarget } from '@netkit/core'
import { START_RESERVATION_MS } from '../limits.ts'
import { bindingKey, bindingRequest } from './container-ports.ts'
import type { ContainerPorts, PublishedBinding } from './container-ports.ts'

/** Where a published port leads. */
export interface PublicationOptions {
  readonly publisher: PortPublisher
  /** The way into the guest for one binding: dial the guest at `hostPort`, where the engine has bound it. */
  target(binding: PublishedBinding, container: string): PortTarget
  /** Addresses for `-p 80:80`, which names none. Default: the publisher's own, loopback. */
  readonly defaultIp?: string | readonly string[]
}

/** Ports that are reserved and wait for the engine's word. */
export interface PendingPublication {
  readonly bindings: readonly PublishedBinding[]
  commit(): Promise<void>
  abort(): Promise<void>
}

/** The book of published ports. */
export class Publications {
  readonly #options: PublicationOptions
  readonly #held = new Map<string, Map<string, PortReservation>>()
  readonly #turns = new Map<string, Promise<void>>()

  constructor(options: PublicationOptions) {
    this.#options = options
  }

  /** Containers that hold ports. */
  get containers(): string[] {
    return [...this.#held.keys()]
  }

  /** Waits for its turn with a container; `end` what it gives to let the next one in. */
  async turn(container: string): Promise<() => void> {
    const before = this.#turns.get(container)
    let end: (() => void) | undefined
    const own = new Promise<void>((resolve) => {
      end = resolve
    })
    this.#turns.set(container, own)
    await before
    return () => {
      if (this.#turns.get(container) === own) this.#turns.delete(container)
      end?.()
    }
  }

  /**
   * Binds what the container does not hold yet: all or nothing.
   *
   * @throws PortError
   */
  async reserve(
    container: ContainerPorts,
    bindings: readonly PublishedBinding[],
    signal?: AbortSignal,
  ): Promise<PendingPublication> {
    const held = this.#held.get(container.id)
    const missing = bindings.filter((binding) => held?.has(bindingKey(binding)) !== true)
    const owner = `container ${container.name} (${container.id.slice(0, 12)})`
    const reserved: { binding: PublishedBinding; reservation: PortReservation }[] = []
    const abort = async (): Promise<void> => {
      await Promise.all(reserved.map(({ reservation }) => reservation.abort()))
    }
    try {
      for (const binding of missing) {
        const request = bindingRequest(binding, this.#options.defaultIp)
        const reservation = await this.#options.publisher.reserve([request], {
          owner,
          ttlMs: START_RESERVATION_MS,
          ...(signal && { signal }),
        })
        reserved.push({ binding, reservation })
      }
    } catch (error) {
      await abort()
      throw error
    }
    return {
      bindings: missing,
      abort,
      commit: async () => {
        for (const { binding, reservation } of reserved) {
          await reservation.commit([this.#options.target(binding, container.id)])
          const own = this.#held.get(container.id) ?? new Map<string, PortReservation>()
          own.set(bindingKey(binding), reservation)
          this.#held.set(container.id, own)
        }
      },
    }
  }

  /** Gives back what the container holds and `wanted` does not name. */
  async keepOnly(container: string, wanted: readonly PublishedBinding[]): Promise<void> {
    const held = this.#held.get(container)
    if (held === undefined) return
    const keys = new Set(wanted.map(bindingKey))
    for (const [key, reservation] of held) {
      if (keys.has(key)) continue
      held.delete(key)
      await reservation.abort()
    }
    if (held.size === 0) this.#held.delete(container)
  }

  /** Gives everything back. */
  async releaseAll(): Promise<void> {
    await Promise.all(this.containers.map((container) => this.keepOnly(container, [])))
  }
}
