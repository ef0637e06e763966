/**
 * What a client reads of a container's ports is what the host has: the addresses that were asked for, and the numbers that were free.
 *
 * ```
 *   GET /containers/{id}/json    HostConfig.PortBindings, NetworkSettings.Ports, Config.Labels
 *   GET /containers/json         Ports, Labels of each
 * ```
 *
 * Everything else of an answer stays as it came, byte by byte; an answer with nothing to change is not even parsed.
 */

import { JsonDocument } from '../json/json-document.ts'
import type { JsonValue } from '../json/json-document.ts'
import { askedHostIps, HOST_IP_LABEL, withHostIps } from './asked-host-ips.ts'
import type { AskedBinding, AskedHostIps } from './asked-host-ips.ts'
import { boundBindings } from './container-ports.ts'
import type { Publications } from './publications.ts'

/** Paths of the answers that are edited. */
export const portAnswers = /^\/containers\/(?:[^/]+\/)?json$/

/** The edited answer; `undefined` when it stays as it is. */
export function hostAnswer(body: Uint8Array, publications: Publications): Uint8Array | undefined {
  if (!publications.anyMoved && !new TextDecoder().decode(body).includes(HOST_IP_LABEL))
    return undefined
  const document = new JsonDocument(body)
  const { items } = document.root
  if (items.length === 0) editInspected(document.root, publications)
  for (const item of items) editListed(item, publications)
  return document.changed ? document.bytes() : undefined
}

function editInspected(root: JsonValue, publications: Publications): void {
  const id = root.field('Id')?.text ?? ''
  const own = takeLabel(root.field('Config')?.field('Labels'))
  const asked = new Map<string, AskedBinding[]>()
  for (const [key, list] of root.field('HostConfig')?.field('PortBindings')?.entries ?? []) {
    asked.set(key, withHostIps(list.items.map(bindingIn), own[key]))
    if (own[key]) list.replaceJson(asked.get(key))
  }
  for (const [key, list] of root.field('NetworkSettings')?.field('Ports')?.entries ?? []) {
    const reported = list.items.map(bindingIn)
    const shown = onHost(id, key, asked.get(key) ?? [], reported, publications)
    if (JSON.stringify(shown) !== JSON.stringify(reported)) list.replaceJson(shown)
  }
}

function editListed(item: JsonValue, publications: Publications): void {
  const id = item.field('Id')?.text ?? ''
  const own = takeLabel(item.field('Labels'))
  const list = item.field('Ports')
  const ports = (list?.items ?? []).map(portIn)
  const shown = [...new Set(ports.map(({ key }) => key))].flatMap((key): ListedPort[] => {
    const here = ports.filter((port) => port.key === key)
    const asked = (own[key] ?? []).map(([HostIp, HostPort]) => ({ HostIp, HostPort }))
    const reported = here.map(({ binding }) => binding).filter(({ HostPort }) => HostPort !== '')
    if (reported.length === 0) return here.map(({ json }) => json)
    const [containerPort, Type = 'tcp'] = key.split('/')
    return onHost(id, key, asked, reported, publications).map(({ HostIp, HostPort }) => ({
      IP: HostIp,
      PrivatePort: Number(containerPort),
      PublicPort: Number(HostPort),
      Type,
    }))
  })
  const before = ports.map(({ json }) => json)
  if (JSON.stringify(shown) !== JSON.stringify(before)) list?.replaceJson(shown)
}

/** The bindings of one container port as the host has them; wildcards stay what the engine calls the default. */
function onHost(
  id: string,
  key: string,
  asked: readonly AskedBinding[],
  reported: readonly AskedBinding[],
  publications: Publications,
): AskedBinding[] {
  return boundBindings(key, asked, reported).flatMap((binding) => {
    const HostPort = String(publications.movedPort(id, binding) ?? binding.hostPort)
    const ips =
      binding.hostIp === ''
        ? reported
            .filter((one) => Number(one.HostPort) === binding.hostPort)
            .map((one) => one.HostIp)
        : [binding.hostIp]
    return ips.map((HostIp) => ({ HostIp, HostPort }))
  })
}

function takeLabel(labels: JsonValue | undefined): AskedHostIps {
  const text = labels?.field(HOST_IP_LABEL)?.text
  if (text === undefined) return {}
  labels?.remove(HOST_IP_LABEL)
  return askedHostIps({ [HOST_IP_LABEL]: text })
}

const bindingIn = (value: JsonValue): AskedBinding => ({
  HostIp: value.field('HostIp')?.text ?? '',
  HostPort: value.field('HostPort')?.text ?? '',
})

/** A port of a listed container. */
interface ListedPort {
  readonly IP?: string
  readonly PrivatePort: number
  readonly PublicPort?: number
  readonly Type: string
}

function portIn(value: JsonValue): { key: string; binding: AskedBinding; json: ListedPort } {
  const IP = value.field('IP')?.text
  const PrivatePort = value.field('PrivatePort')?.number ?? 0
  const PublicPort = value.field('PublicPort')?.number
  const Type = value.field('Type')?.text ?? 'tcp'
  return {
    key: `${PrivatePort}/${Type}`,
    binding: { HostIp: IP ?? '', HostPort: PublicPort === undefined ? '' : String(PublicPort) },
    json: {
      ...(IP !== undefined && { IP }),
      PrivatePort,
      ...(PublicPort !== undefined && { PublicPort }),
      Type,
    },
  }
}
