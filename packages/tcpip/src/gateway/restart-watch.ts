/**
 * A guest that was reset has forgotten its connections, and does not say so: those that are idle would keep their host sockets for ever.
 * A DHCP client that begins anew although it has a lease may be such a guest.
 *
 * ```
 *   DISCOVER by the holder of a lease ─▶ its flows are suspected
 *     1, 3, 7 s later ─▶ a segment that asks for an ACK (RFC 9293 3.8.4) to each that was not heard since
 *                          ├─ ACK: the guest lives, and has only asked for its address again
 *                          └─ RST: it does not know the connection; its end is passed on as any reset
 *     15 s later ─▶ who still has not answered is gone: aborted
 * ```
 */

import { socketError } from '@netkit/core'
import type { Engine } from '../engine/engine.ts'
import type { TcpFlow } from '../engine/tcp-flow.ts'
import type { Port } from '../engine/port.ts'
import { RESTART_GIVE_UP_MS, RESTART_PROBES_MS } from '../limits.ts'

/** The watch of one gateway. */
export class RestartWatch {
  readonly #engine: Engine
  /** Machines that are being asked; a DISCOVER that is repeated starts nothing new. */
  readonly #asked = new Map<Port, Set<number>>()

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** The machine with that MAC address may have been reset. */
  suspect(port: Port, mac: number): void {
    let asked = this.#asked.get(port)
    if (!asked) this.#asked.set(port, (asked = new Set()))
    if (asked.has(mac)) return
    asked.add(mac)
    const { clock, tcp } = this.#engine
    const since = clock.now()
    const silent = (): TcpFlow[] =>
      tcp.flowsOf(port).filter(({ neighbor, connection }) => {
        return neighbor.mac === mac && connection !== undefined && connection.heardAt <= since
      })
    for (const ms of RESTART_PROBES_MS) {
      clock.after(ms, () => {
        for (const { connection } of silent()) connection?.askForAck()
      })
    }
    clock.after(RESTART_GIVE_UP_MS, () => {
      asked.delete(mac)
      for (const { connection, local } of silent()) {
        const reason = `'${port.name}' began anew and no longer answers for this connection`
        const where = { syscall: 'read', address: local.ip, port: local.port, reason }
        connection?.abort(socketError('ECONNRESET', where))
      }
    })
  }

  /** A guest is gone, and its flows with it. */
  detached(port: Port): void {
    this.#asked.delete(port)
  }
}
