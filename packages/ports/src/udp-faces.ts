/**
 * The sockets of one published UDP port.
 *
 * A reply must leave from the address that the datagram was sent to, or the client drops it. A socket on the wildcard lets the
 * kernel choose by route; so a wildcard is bound as one socket per address of the host, and follows the host as addresses come
 * and go. Datagrams to broadcast and multicast addresses do not arrive that way.
 */

import type { Binder, IpEndpoint, PortTarget } from '@netkit/core'
import { errorCode, ipFamily } from '@netkit/core'
import type { ForwardContext } from './tcp-forward.ts'
import { UdpForward } from './udp-forward.ts'

/** The addresses of the host, without link-local ones (which need a zone), in canonical text. */
export interface HostAddresses {
  list(): readonly string[]
}

/** One published UDP port with all its sockets. */
export class UdpFaces {
  readonly #host: Binder
  readonly #at: IpEndpoint
  readonly #context: ForwardContext
  readonly #addresses: HostAddresses | undefined
  readonly #faces = new Map<string, UdpForward>()
  #port: number
  #target: PortTarget | undefined
  #closed = false

  constructor(
    host: Binder,
    at: IpEndpoint,
    context: ForwardContext,
    addresses: HostAddresses | undefined,
  ) {
    this.#host = host
    this.#at = at
    this.#port = at.port
    this.#context = context
    this.#addresses = at.ip === '0.0.0.0' || at.ip === '::' ? addresses : undefined
  }

  /** The number; known after `open` when it was 0. */
  get port(): number {
    return this.#port
  }

  /** Datagrams dropped, all sockets together. */
  get dropped(): number {
    return [...this.#faces.values()].reduce((sum, face) => sum + face.dropped, 0)
  }

  /** The addresses bound now. */
  locals(): IpEndpoint[] {
    return [...this.#faces.values()].map((face) => face.local)
  }

  /** Binds all or none. */
  async open(signal?: AbortSignal): Promise<void> {
    try {
      for (const ip of this.#wanted()) await this.#bind(ip, signal)
      // No address of the family at all: the wildcard still is what was asked for.
      if (this.#faces.size === 0) await this.#bind(this.#at.ip, signal)
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** Connects the port to the target. */
  commit(target: PortTarget): void {
    this.#target = target
    for (const face of this.#faces.values()) face.commit(target)
  }

  /** After the host's addresses changed: binds the new ones, gives up those that are gone. */
  async refresh(): Promise<void> {
    if (this.#addresses === undefined || this.#closed) return
    const wanted = new Set(this.#wanted())
    for (const [ip, face] of this.#faces) {
      if (wanted.has(ip)) continue
      this.#faces.delete(ip)
      await face.close()
    }
    for (const ip of wanted) {
      // Somebody else may hold the number on a new address: the others must not suffer from it.
      if (!this.#faces.has(ip) && !this.#closed) await this.#bind(ip).catch(() => undefined)
    }
  }

  /** Gives everything back. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    const faces = [...this.#faces.values()]
    this.#faces.clear()
    await Promise.all(faces.map((face) => face.close()))
  }

  #wanted(): readonly string[] {
    if (this.#addresses === undefined) return [this.#at.ip]
    const family = ipFamily(this.#at.ip)
    return this.#addresses.list().filter((ip) => ipFamily(ip) === family)
  }

  async #bind(ip: string, signal?: AbortSignal): Promise<void> {
    const socket = await this.#host
      .bind({ ip, port: this.#port }, signal === undefined ? {} : { signal })
      .catch((error: unknown) => {
        // The address went away between the look and the bind.
        if (this.#addresses !== undefined && errorCode(error) === 'EADDRNOTAVAIL') return undefined
        throw error
      })
    if (socket === undefined) return
    if (this.#closed) {
      await socket.close()
      return
    }
    this.#port = socket.local.port
    const face = new UdpForward(socket, this.#context)
    if (this.#target !== undefined) face.commit(this.#target)
    this.#faces.set(ip, face)
  }
}
