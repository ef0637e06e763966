/**
 * The host's addresses are not the guest's: of `-p 127.0.0.1:8080:80` the address is this host's to bind, and in the guest the port
 * must be where the gateway reaches it.
 *
 * ```
 *   create     {"HostIp": "127.0.0.1", "HostPort": "8080"}  ──▶  {"HostIp": "", "HostPort": "8080"}, label netkit.host-ip
 *   published  127.0.0.1:8080 on the host                   ──▶  the guest's address, port 8080
 *   inspect    {"HostIp": "127.0.0.1", "HostPort": "8080"}  ◀──  {"HostIp": "", …}, and no label
 * ```
 *
 * The label is how the engine itself remembers: it is there after a restart of the proxy, and for whoever lists containers.
 */

import { ipFamily } from '@netkit/core'
import type { JsonValue } from '../json/json-document.ts'

/** Ports that a client leaves to the engine: `''` and `0` are any number, `7000-7010` is a range; `undefined` for one number. */
export function chosenRange(text: string): readonly [first: number, last: number] | undefined {
  if (text === '' || /^0+$/.test(text)) return [0, 0]
  const [, first = '', last = ''] = /^(\d+)-(\d+)$/.exec(text) ?? []
  return isPort(first) && isPort(last) ? [Number(first), Number(last)] : undefined
}

/** Whether a port is among those that the engine could choose. */
export function fitsRange(text: string, port: number): boolean {
  const range = chosenRange(text)
  return range !== undefined && (range[1] === 0 || (port >= range[0] && port <= range[1]))
}

/** Whether the text is one port. */
export const isPort = (text: string): boolean =>
  /^\d{1,5}$/.test(text) && +text > 0 && +text < 65_536

/** Where a container carries its own addresses of the host. */
export const HOST_IP_LABEL = 'netkit.host-ip'

/** One binding as a client writes it. */
export interface AskedBinding {
  readonly HostIp: string
  readonly HostPort: string
}

/** Bindings with an address of the host's, by container port (`80/tcp`): what the label holds. */
export type AskedHostIps = Readonly<
  Record<string, readonly (readonly [ip: string, port: string])[]>
>

/** Whether the address can only be the host's own; the wildcards mean the same in the guest. */
const isHostsOwn = (ip: string): boolean =>
  ipFamily(ip) !== undefined && ip !== '0.0.0.0' && ip !== '::'

/** `80/tcp`, as the engine writes what may be `80`. */
const portKey = (key: string): string => (key.includes('/') ? key : `${key}/tcp`).toLowerCase()

/** Moves the addresses of a create's bindings into the label. */
export function moveHostIps(create: JsonValue): void {
  const moved: Record<string, [string, string][]> = {}
  for (const [key, list] of create.field('HostConfig')?.field('PortBindings')?.entries ?? []) {
    const asked = list.items.map((item) => ({
      item,
      ip: item.field('HostIp')?.text ?? '',
      port: item.field('HostPort')?.text ?? '',
    }))
    const own = asked.filter(({ ip }) => isHostsOwn(ip))
    if (own.length === 0) continue
    moved[portKey(key)] = own.map(({ ip, port }) => [ip, port])
    // One number on two of the host's addresses is one binding in the guest.
    const inGuest = asked.map(({ ip, port }) => ({
      HostIp: isHostsOwn(ip) ? '' : ip,
      HostPort: port,
    }))
    const distinct = inGuest.filter(
      (one, i) =>
        one.HostPort === '' || i === inGuest.findIndex((other) => sameBinding(one, other)),
    )
    if (distinct.length < asked.length) list.replaceJson(distinct)
    else for (const { item } of own) item.field('HostIp')?.replace('')
  }
  if (Object.keys(moved).length === 0) return
  const labels = create.field('Labels')
  if (labels) labels.set(HOST_IP_LABEL, JSON.stringify(moved))
  else create.set('Labels', { [HOST_IP_LABEL]: JSON.stringify(moved) })
}

const sameBinding = (a: AskedBinding, b: AskedBinding): boolean =>
  a.HostIp === b.HostIp && a.HostPort === b.HostPort

const isEntry = (entry: unknown): entry is [string, string] =>
  Array.isArray(entry) && typeof entry[0] === 'string' && typeof entry[1] === 'string'

/** Reads the label. What is no record of ours is none. */
export function askedHostIps(
  labels: Readonly<Record<string, string>> | null | undefined,
): AskedHostIps {
  let json: unknown
  try {
    json = JSON.parse(labels?.[HOST_IP_LABEL] ?? '{}')
  } catch {
    return {}
  }
  if (typeof json !== 'object' || json === null) return {}
  return Object.fromEntries(
    Object.entries(json).map(([key, list]) => [
      key,
      Array.isArray(list) ? list.filter(isEntry) : [],
    ]),
  )
}

/** Podman writes the address and the number that it took in the place of those that were left to it. */
const isSame = ({ HostIp, HostPort }: AskedBinding, port: string): boolean =>
  (HostIp === '' || HostIp === '0.0.0.0') &&
  (HostPort === port || fitsRange(port, Number(HostPort)))

/** The bindings of one container port as the client gave them. */
export function withHostIps(
  inGuest: readonly AskedBinding[],
  own: AskedHostIps[string] = [],
): AskedBinding[] {
  const left = [...inGuest]
  const restored: AskedBinding[] = []
  for (const [HostIp, port] of own) {
    const at = left.findIndex((binding) => isSame(binding, port))
    const merged = restored.find(({ HostPort }) => port !== '' && HostPort === port)
    // Neither: inherited from an image that was committed. This container was not asked for with it.
    const inGuestNow = left[at] ?? merged
    if (inGuestNow === undefined) continue
    if (at >= 0) left.splice(at, 1)
    restored.push({ HostIp, HostPort: inGuestNow.HostPort })
  }
  return [...left, ...restored]
}
