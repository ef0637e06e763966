/**
 * Host paths in requests become guest paths, and back in answers.
 *
 * ```
 *   create, volume create, service create/update ──▶ toGuest(source) ──▶ engine
 *   inspect, list                                ◀── toHost(source)  ◀── engine
 * ```
 *
 * Fails closed: a request whose paths cannot all be read and mapped is refused, and never passed on as it was.
 */

import { errorCode } from '@netkit/core'
import type { ApiTarget } from '../api-target.ts'
import type { Inspection, Inspector, Outcome } from '../inspection.ts'
import { JsonDocument } from '../json/json-document.ts'
import type { JsonValue } from '../json/json-document.ts'

/** Where the host's files are in the guest. */
export interface PathMapping {
  /** The guest's path of a host's path; `undefined` when the guest does not have it. */
  toGuest(path: string): string | undefined
  /** The host's path of a guest's path; `undefined` when it is the guest's own. */
  toHost(path: string): string | undefined
}

const requests =
  /^\/(?:containers\/create|volumes\/create|services\/create|services\/[^/]+\/update)$/
const answers =
  /^\/(?:containers\/json|containers\/[^/]+\/json|volumes|volumes\/[^/]+|services|services\/[^/]+|tasks|tasks\/[^/]+|system\/df)$/

// What the engine takes for the name of a volume; anything else before the colon is a path.
const volumeName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/
// A drive's colon is none of the separators.
const bind = /^(?<source>(?:[A-Za-z]:(?=[\\/]))?[^:]*):(?<rest>.*)$/s

/** A path that the guest does not have. */
class Unmapped extends Error {}

/** Makes the inspector. It goes before `inspectPorts` in the proxy's list. */
export function inspectPaths(mapping: PathMapping): Inspector {
  return {
    inspect({ method, path }: ApiTarget): Inspection | undefined {
      if (method === 'POST' && requests.test(path)) {
        return { wantsBody: true, before: ({ body }) => Promise.resolve(intoGuest(body, mapping)) }
      }
      if (method !== 'GET' || !answers.test(path)) return undefined
      return {
        wantsResponse: true,
        after: ({ status, body }) =>
          Promise.resolve(status === 200 ? outOfGuest(body, mapping) : undefined),
      }
    },
  }
}

function intoGuest(body: Uint8Array, mapping: PathMapping): Outcome {
  try {
    const document = new JsonDocument(body)
    rewrite(document.root, (source) => {
      const mapped = mapping.toGuest(source)
      if (mapped === undefined) {
        throw new Unmapped(
          `Mounts denied: the path ${source} is not shared with the guest. Share it, or mount a path that is.`,
        )
      }
      return mapped
    })
    return document.changed ? { body: document.bytes() } : undefined
  } catch (error) {
    if (error instanceof Unmapped) return { answer: { status: 400, message: error.message } }
    const why =
      errorCode(error) === 'NETKIT_API_JSON'
        ? (error as Error).message
        : 'its paths cannot be mapped'
    return {
      answer: { status: 400, message: `The request is refused, and was not passed on: ${why}.` },
    }
  }
}

function outOfGuest(body: Uint8Array, mapping: PathMapping): Outcome {
  let document: JsonDocument
  try {
    document = new JsonDocument(body)
  } catch {
    return {
      answer: {
        status: 502,
        message: "The container engine's answer is not JSON that can be read.",
      },
    }
  }
  const back = (source: string): string => mapping.toHost(source) ?? source
  const { root } = document
  const listed = ['Containers', 'Volumes'].flatMap((name) => root.field(name)?.items ?? [])
  const list = [...listed, ...root.items]
  for (const value of list.length > 0 ? list : [root]) {
    rewrite(value, back)
    rewriteVolume(value.field('Options'), back)
    const spec = value.field('Spec')
    if (spec !== undefined) rewrite(spec, back)
  }
  return document.changed ? { body: document.bytes() } : undefined
}

/** All places of a create, a service or an inspected container that hold a source on the host. */
function rewrite(root: JsonValue, map: (source: string) => string): void {
  const config = root.field('HostConfig')
  for (const one of config?.field('Binds')?.items ?? []) rewriteBind(one, map)
  // A service's, or a task's.
  const service = (root.field('TaskTemplate') ?? root).field('ContainerSpec')
  for (const owner of [config, service, root]) {
    for (const mount of owner?.field('Mounts')?.items ?? []) rewriteMount(mount, map)
  }
  rewriteVolume(root.field('DriverOpts'), map)
}

function rewriteBind(value: JsonValue, map: (source: string) => string): void {
  const { source, rest } = bind.exec(value.text ?? '')?.groups ?? {}
  // Without a colon it is an anonymous volume's place in the container.
  if (source === undefined || rest === undefined || volumeName.test(source)) return
  replace(value, source, map(source), (mapped) => `${mapped}:${rest}`)
}

function rewriteMount(mount: JsonValue, map: (source: string) => string): void {
  const source = mount.field('Source')
  if (mount.field('Type')?.text?.toLowerCase() === 'bind' && source?.text !== undefined)
    replace(source, source.text, map(source.text))
  rewriteVolume(mount.field('VolumeOptions')?.field('DriverConfig')?.field('Options'), map)
}

/** The local driver's options: `o=bind` makes `device` a path. Keys of a map match exactly; more is refused, not missed. */
function rewriteVolume(options: JsonValue | undefined, map: (source: string) => string): void {
  const device = options?.field('device')
  const flags = options?.field('o')?.text?.split(',') ?? []
  if (device?.text === undefined || !flags.some((flag) => /^r?bind$/.test(flag))) return
  replace(device, device.text, map(device.text))
}

function replace(
  value: JsonValue,
  before: string,
  after: string,
  whole: (path: string) => string = (path) => path,
): void {
  if (after !== before) value.replace(whole(after))
}
