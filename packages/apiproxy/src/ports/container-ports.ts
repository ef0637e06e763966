/** What a container publishes, read from the engine's own description of it (`GET /containers/{id}/json`). */

import type { PortRequest } from '@netkit/core'

/** One port of a container on one address of the host. */
export interface PublishedBinding {
  readonly protocol: string
  readonly containerPort: number
  /** As the user gave it; `''` for the default. */
  readonly hostIp: string
  readonly hostPort: number
}

/** The part of an inspected container that matters here. */
export interface ContainerPorts {
  readonly id: string
  readonly name: string
  readonly running: boolean
  /** Bindings with one number, known before the start. */
  readonly fixed: readonly PublishedBinding[]
  /** Whether the engine chooses numbers at the start: `-P`, an empty host port, a range. */
  readonly hasDynamic: boolean
  /** What the engine has bound now; none unless it runs. */
  readonly bound: readonly PublishedBinding[]
}

interface Binding {
  readonly HostIp?: string
  readonly HostPort?: string
}

interface Inspected {
  readonly Id?: string
  readonly Name?: string
  readonly State?: { readonly Running?: boolean }
  readonly HostConfig?: {
    readonly NetworkMode?: string
    readonly PublishAllPorts?: boolean
    readonly PortBindings?: Readonly<Record<string, readonly Binding[] | null>> | null
  }
  readonly NetworkSettings?: {
    readonly Ports?: Readonly<Record<string, readonly Binding[] | null>> | null
  }
}

/** Modes in which the engine keeps the bindings and publishes nothing. */
const unpublished = /^(?:host|none|container:.*)$/

function bindingsOf(
  map: Readonly<Record<string, readonly Binding[] | null>> | null | undefined,
): { protocol: string; containerPort: number; hostIp: string; hostPort: string }[] {
  return Object.entries(map ?? {}).flatMap(([key, list]) => {
    const [port = '', protocol = 'tcp'] = key.split('/')
    return (list ?? []).map(({ HostIp, HostPort }) => ({
      protocol,
      containerPort: Number(port),
      hostIp: HostIp ?? '',
      hostPort: HostPort ?? '',
    }))
  })
}

const validPort = (text: string): boolean => /^\d{1,5}$/.test(text) && +text > 0 && +text < 65_536

/** Reads what `GET /containers/{id}/json` answered. */
export function containerPorts(json: unknown): ContainerPorts {
  const inspected = (json ?? {}) as Inspected
  const { NetworkMode = '', PublishAllPorts = false, PortBindings } = inspected.HostConfig ?? {}
  const asked = unpublished.test(NetworkMode) ? [] : bindingsOf(PortBindings)
  const running = inspected.State?.Running ?? false
  return {
    id: inspected.Id ?? '',
    name: (inspected.Name ?? '').replace(/^\//, ''),
    running,
    fixed: distinct(
      asked
        .filter(({ hostPort }) => validPort(hostPort))
        .map((binding) => ({ ...binding, hostPort: Number(binding.hostPort) })),
    ),
    hasDynamic:
      (PublishAllPorts && !unpublished.test(NetworkMode)) ||
      asked.some(({ hostPort }) => !validPort(hostPort)),
    bound: running
      ? distinct(
          bindingsOf(inspected.NetworkSettings?.Ports)
            .filter(({ hostPort }) => validPort(hostPort))
            .map((binding) => ({
              ...binding,
              hostPort: Number(binding.hostPort),
              hostIp: askedIp(binding, asked),
            })),
        )
      : [],
  }
}

/** The engine reports the default address as the wildcards of both families. */
function askedIp(
  bound: { protocol: string; containerPort: number; hostIp: string },
  asked: readonly { protocol: string; containerPort: number; hostIp: string }[],
): string {
  if (bound.hostIp !== '0.0.0.0' && bound.hostIp !== '::') return bound.hostIp
  const explicit = asked.some(
    ({ protocol, containerPort, hostIp }) =>
      protocol === bound.protocol &&
      containerPort === bound.containerPort &&
      hostIp === bound.hostIp,
  )
  return explicit ? bound.hostIp : ''
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
  defaultIp: string | readonly string[] | undefined,
): PortRequest {
  const ip = binding.hostIp === '' ? defaultIp : binding.hostIp
  return {
    protocol: binding.protocol as PortRequest['protocol'],
    port: binding.hostPort,
    ...(ip !== undefined && { ip }),
  }
}
