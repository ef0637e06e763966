import type { ExtendedError } from '../wire/header.ts'
import { EDE } from '../wire/header.ts'
import type { RecordSpec } from '../wire/record-data.ts'
import { zones } from './zones.ts'
import type { Zones } from './zones.ts'

/** Options of `dockerInternal`; addresses of either family. */
export interface DockerInternalOptions {
  /** Addresses that lead to the host. Left out, the names exist without an address, and say why. */
  host?: readonly string[]
  /** Addresses of the gateway. */
  gateway?: readonly string[]
  /** Addresses of the HTTP proxy for guests (Docker Desktop's `http.docker.internal:3128`). */
  http?: readonly string[]
  /** Whether the names that other tools use for the same things are served too. Default `true`. */
  aliases?: boolean
  /** `s`. Default 5. */
  ttl?: number
}

/** The host, as other tools call it: Docker's Kubernetes, Podman, Lima and Colima, Rancher Desktop, minikube. */
const HOST_ALIASES = [
  'kubernetes.docker.internal',
  'host.containers.internal',
  'host.lima.internal',
  'host.rancher-desktop.internal',
  'host.minikube.internal',
] as const
const GATEWAY_ALIASES = ['gateway.containers.internal'] as const

const HOST_OFF: ExtendedError = {
  code: EDE.PROHIBITED,
  text: 'the host alias is off: turn it on to let guests reach the host',
}
const NOT_SERVED: ExtendedError = { code: EDE.PROHIBITED, text: 'not served in this network' }

/**
 * The names under which Docker Desktop's guests know the host, the gateway and the proxy. They are claimed for all types, so that
 * no upstream can answer for them.
 *
 * @example
 * ```ts
 * import { createResponder, dockerInternal } from '@netkit/dns'
 *
 * const names = dockerInternal({ host: ['192.168.65.254'], gateway: ['192.168.65.1'] })
 * const { answer } = await createResponder({ layers: [names] }).explain('host.docker.internal')
 * console.assert(answer === 'NOERROR: host.docker.internal A 5 192.168.65.254')
 * ```
 */
export function dockerInternal(options: DockerInternalOptions = {}): Zones {
  const { host, gateway, http, aliases = true, ttl } = options
  const names = zones({ name: 'docker.internal', ...(ttl === undefined ? {} : { ttl }) })
  const set = (name: string, ips: readonly string[] | undefined, reason: ExtendedError): void => {
    names.set(name, (ips ?? []).map(addressRecord), { reason })
  }
  // The reverse name of an address is the first that was set for it.
  set('host.docker.internal', host, HOST_OFF)
  set('gateway.docker.internal', gateway, NOT_SERVED)
  set('http.docker.internal', http, NOT_SERVED)
  if (aliases) {
    for (const alias of HOST_ALIASES) set(alias, host, HOST_OFF)
    for (const alias of GATEWAY_ALIASES) set(alias, gateway, NOT_SERVED)
  }
  return names
}

/** An A or AAAA record, by the look of the address. */
export function addressRecord(ip: string): RecordSpec {
  return { type: ip.includes(':') ? 'AAAA' : 'A', data: ip }
}
