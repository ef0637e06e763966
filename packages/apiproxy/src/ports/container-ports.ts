/** What a container publishes, read from the engine's own description of it (`GET /containers/{id}/json`). */

import type { PortRequest } from '@netkit/core'
import { askedHostIps, chosenRange, fitsRange, isPort, withHostIps } from './asked-host-ips.ts'
import type { AskedBinding } from './asked-host-ips.ts'

/** One port of a container on one address of the host. */
export interface PublishedBinding {
  readonly protocol: string
  readonly containerPort: number
  /** As the user gave it; `''` for the default. */
  readonly hostIp: string
  /** The number in the guest, where the engine has bound it, and on the host if it is free there. */
  readonly hostPort: number
  /** Other numbers that will do on the host, first and last; 0 to 0 is any. None where the user gave one number. */
  readonly others?: readonly [first: number, last: number]
}

/** Whose ports they are. */
export interface PortOwner {
  readonly id: string
  readonly name: string
  readonly kind: 'container' | 'service'
}

/** The part of an inspected container that matters here. */
export interface ContainerPorts extends PortOwner {
  readonly running: boolean
  /** Bindings with one number, known before the start. */
  readonly fixed: readonly PublishedBinding[]
  /** Whether the engine chooses numbers at the start: `-P`, an empty host port, a range. */
  readonly hasDynamic: boolean
  /** What the engine has bound now; none unless it runs. */
  readonly bound: readonly PublishedBinding[]
}

type BindingMap = Readonly<Record<string, readonly Partial<AskedBinding>[] | null>> | null

interface Inspected {
  readonly Id?: string
  readonly Name?: string
  readonly State?: { readonly Running?: boolean }
  readonly Config?: { readonly Labels?: Readonly<Record<string, string>> | null }
  readonly HostConfig?: {
    readonly NetworkMode?: string
    readonly PublishAllPorts?: boolean
    readonly PortBindings?: BindingMap
  }
  readonly NetworkSettings?: { readonly Ports?: BindingMap }
}

/** Modes in which the engine keeps the bindings and publishes nothing. */
const unpublished = /^(?:host|none|container:.*)$/

const bindingsOf = (map: BindingMap | undefined): [string, AskedBinding[]][] =>
  Object.entries(map ?? {}).map(([key, list]) => [
    key,
    (list ?? []).map(({ HostIp = '', HostPort = '' }) => ({ HostIp, HostPort })),
  ])

/** Reads what `GET /containers/{id}/json` answered. */
export function containerPorts(json: unknown): ContainerPorts {
  const inspected = (json ?? {}) as Inspected
  const { NetworkMode = '', PublishAllPorts = false, PortBindings } = inspected.HostConfig ?? {}
  const isPublished = !unpublished.test(NetworkMode)
  const own = askedHostIps(inspected.Config?.Labels)
  const asked = new Map(
    isPublished
      ? bindingsOf(PortBindings).map(([key, list]) => [key, withHostIps(list, own[key])])
      : [],
  )
  const running = inspected.State?.Running ?? false
  const all = [...asked.values()].flat()
  return {
    kind: 'container',
    id: inspected.Id ?? '',
    name: (inspected.Name ?? '').replace(/^\//, ''),
    running,
    fixed: distinct(
      [...asked].flatMap(([key, list]) =>
        list
          .filter(({ HostPort }) => isPort(HostPort))
          .map((binding) => published(key, binding, Number(binding.HostPort))),
      ),
    ),
    hasDynamic: (PublishAllPorts && isPublished) || all.some(({ HostPort }) => !isPort(HostPort)),
    bound: running
      ? distinct(
          bindingsOf(inspected.NetworkSettings?.Ports).flatMap(([key, list]) =>
            boundBindings(key, asked.get(key) ?? [], list),
          ),
        )
      : [],
  }
}

/**
 * What the engine has bound of one container port, with the addresses that were asked for: it reports the default address as the
 * wildcards of both families.
 */
export function boundBindings(
  key: string,
  asked: readonly AskedBinding[],
  reported: readonly AskedBinding[],
): PublishedBinding[] {
  const chosen = asked.filter(({ HostPort }) => !isPort(HostPort))
  const numbers = new Set(reported.map(({ HostPort }) => HostPort).filter(isPort))
  const all = [...numbers].flatMap((text) => {
    const number = Number(text)
    const fixed = asked.filter(({ HostPort }) => isPort(HostPort) && Number(HostPort) === number)
    if (fixed.length > 0) return fixed.map((binding) => published(key, binding, number))
    const fitting = chosen.findIndex(({ HostPort }) => fitsRange(HostPort, number))
    const [binding] = fitting < 0 ? [] : chosen.splice(fitting, 1)
    if (binding) return [published(key, binding, number)]
    // Nobody has asked for it by name (`-P`).
    const ips = reported.filter(({ HostPort }) => HostPort === text).map(({ HostIp }) => HostIp)
    return ips.map((ip) => {
      const HostIp = ip === '0.0.0.0' || ip === '::' ? '' : ip
      return published(key, { HostIp, HostPort: '' }, number)
    })
  })
  return distinct(all)
}

function published(
  key: string,
  { HostIp, HostPort }: AskedBinding,
  number: number,
): PublishedBinding {
  const [port = '', protocol = 'tcp'] = key.split('/')
  const others = isPort(HostPort) ? undefined : chosenRange(HostPort)
  return {
    protocol,
    containerPort: Number(port),
    hostIp: HostIp,
    hostPort: number,
    ...(others && { others }),
  }
}

function distinct(bindings: readonly PublishedBinding[]): PublishedBinding[] {
  return [...new Map(bindings.map((binding) => [bindingKey(binding), binding])).values()]
}

/** One text per binding. */
export function bindingKey(binding: PublishedBinding): string {
  const { protocol, containerPort, hostIp, hostPort } = binding
  return `${protocol}|${hostIp}|${hostPort}|${containerPort}`
}

/** What to ask the publisher for. `sctp` is passed on as it is: the publisher says why it cannot be. */
export function bindingRequest(
  binding: PublishedBinding,
  port: number,
  defaultIp: string | readonly string[] | undefined,
): PortRequest {
  const ip = binding.hostIp === '' ? defaultIp : binding.hostIp
  return {
    protocol: binding.protocol as PortRequest['protocol'],
    port,
    ...(ip !== undefined && { ip }),
  }
}
