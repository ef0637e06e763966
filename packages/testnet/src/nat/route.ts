/**
 * The way of a frame through NATs.
 *
 * ```
 *   host in home in carrier ──▶ home ──▶ carrier ──▶ host outside        out of every NAT that the destination is not behind,
 *   host outside ──▶ carrier's port ──▶ home's port ──▶ host in home      and in through those that it is addressed to
 * ```
 */

import { blockOf } from '@netkit/core'
import { writeMac } from '@netkit/frames'
import { NatGateway } from './nat-gateway.ts'

/** A port of the fabric, as far as NATs care. */
interface Port {
  readonly station: { readonly ip: number; readonly mac: number } | undefined
  readonly enclosure: NatGateway | undefined
}

/** Where a frame goes, as what; or why it is lost. */
export type Way<P extends Port> =
  | { readonly to: P; readonly frame: Uint8Array }
  | { readonly lost: string; readonly isReset?: boolean }

const DESTINATION_MAC_AT = 0
const SOURCE_MAC_AT = 6

/** The way of a frame from a port to whoever it is addressed to: a port, or a NAT. */
export function wayOf<P extends Port>(
  from: P,
  to: P | NatGateway,
  original: Uint8Array,
  stationAt: (ip: number) => P | NatGateway | undefined,
): Way<P> {
  const around = enclosuresOf(from)
  const aroundTarget = enclosuresOf(to)
  const wall = aroundTarget.find((nat) => !around.includes(nat))
  if (wall !== undefined) return { lost: `nat: private, behind '${wall.name}'` }
  let frame = original
  for (const nat of around) {
    if (aroundTarget.includes(nat)) break
    if (nat === to && !nat.behavior.hairpin) return { lost: 'nat: no hairpinning' }
    const out = nat.table.outbound(frame)
    if ('lost' in out) return out
    frame = out.frame
    writeMac(blockOf(frame).view, SOURCE_MAC_AT, nat.station.mac)
  }
  let station: P | NatGateway | undefined = to
  while (station instanceof NatGateway) {
    const into = station.table.inbound(frame)
    if ('lost' in into) return { lost: into.lost }
    frame = into.frame
    station = stationAt(into.ip)
    const mac = station?.station?.mac
    if (mac !== undefined) writeMac(blockOf(frame).view, DESTINATION_MAC_AT, mac)
  }
  return station === undefined ? { lost: 'nat: the inside host is gone' } : { to: station, frame }
}

function enclosuresOf(station: Port): NatGateway[] {
  const nats: NatGateway[] = []
  for (let nat = station.enclosure; nat !== undefined; nat = nat.enclosure) nats.push(nat)
  return nats
}
