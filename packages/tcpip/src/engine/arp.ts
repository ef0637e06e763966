/**
 * ARP (RFC 826) both ways: answers for our addresses, questions for neighbors.
 *
 * A probe (RFC 5227: sender 0.0.0.0, "does anybody use this address?") is answered only for an address that is really ours, and
 * never by proxy: an answer tells the guest that its own address is taken. Whoever claims an address is checked first; a lie is
 * counted and changes nothing.
 */

import type { Block } from '@netkit/core'
import {
  ARP_LENGTH,
  ARP_OPERATION,
  ArpView,
  BROADCAST_MAC,
  encodeArp,
  ETHER_TYPE,
  ETHERNET_HEADER_LENGTH,
  writeMac,
} from '@netkit/frames'
import type { EngineContext } from './context.ts'
import type { Neighbor, Solicitor } from './neighbors.ts'
import type { Port } from './port.ts'

const MAPPED = 0xffff

/** ARP of one engine. */
export class Arp implements Solicitor {
  readonly #engine: EngineContext
  readonly #view = new ArpView()

  constructor(engine: EngineContext) {
    this.#engine = engine
  }

  /** An ARP packet came in; `mac` is the frame's source. */
  arrived(port: Port, block: Block, offset: number, length: number, mac: number): void {
    const arp = this.#view.at(block, offset, length)
    const fault = arp.check()
    if (fault !== undefined) {
      port.drop(fault)
      return
    }
    const { role } = this.#engine
    const { senderIp, targetIp } = arp
    if (arp.senderMac !== mac) {
      port.drop('arp-spoofed')
      return
    }
    if (senderIp !== 0) {
      const refusal = role.refuseClaim(port, 0, 0, MAPPED, senderIp | 0, mac)
      if (refusal !== undefined) {
        port.drop(refusal === 'address-spoofed' ? 'arp-spoofed' : refusal)
        return
      }
    }
    if (arp.operation !== ARP_OPERATION.request || arp.isAnnouncement) return
    const target = targetIp | 0
    if (!role.resolvesTo(port, 0, 0, MAPPED, target)) return
    if (arp.isProbe && !role.answersEcho(0, 0, MAPPED, target)) return
    this.#send(port, ARP_OPERATION.reply, mac, targetIp, mac, senderIp)
  }

  /** Asks for a neighbor's MAC address. */
  solicit(neighbor: Neighbor): void {
    const { port, address } = neighbor
    const own = this.#engine.role.addressTowards(port, 4)
    if (!own || address.family !== 4) return
    this.#send(port, ARP_OPERATION.request, BROADCAST_MAC, own.v4, 0, address.v4)
  }

  #send(
    port: Port,
    operation: number,
    destination: number,
    senderIp: number,
    targetMac: number,
    targetIp: number,
  ): void {
    const length = ETHERNET_HEADER_LENGTH + ARP_LENGTH
    const room = port.begin(length)
    if (!room) {
      port.drop('no-credit')
      return
    }
    const { block, offset } = room
    const senderMac = this.#engine.mac
    writeMac(block.view, offset, destination)
    writeMac(block.view, offset + 6, senderMac)
    block.view.setUint16(offset + 12, ETHER_TYPE.arp)
    encodeArp(
      { operation, senderMac, senderIp, targetMac, targetIp },
      block,
      offset + ETHERNET_HEADER_LENGTH,
    )
    port.commit(length)
  }
}
