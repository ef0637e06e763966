import { join } from 'node:path'
import { platform } from 'node:os'
import type { Clock } from '@netkit/core'
import type { Layer } from '../layer.ts'
import { hosts } from '../layers/hosts.ts'
import type { HostsOptions } from '../layers/hosts.ts'
import { hostFiles, watchFiles } from '@netkit/core/node'
import type { HostFiles } from '@netkit/core/node'
import { parseNsswitch } from './nsswitch.ts'

const NSSWITCH = '/etc/nsswitch.conf'

/** Where this host's hosts file is. */
export function hostsFilePath(): string {
  if (platform() !== 'win32') return '/etc/hosts'
  return join(process.env['SystemRoot'] ?? 'C:\\Windows', 'System32', 'drivers', 'etc', 'hosts')
}

/** Options of `hostsFile`. */
export interface HostsFileOptions extends HostsOptions {
  /** Default: this host's. */
  path?: string
  files?: HostFiles
  clock?: Clock
}

/**
 * The host's hosts file as a layer, read again when it changes. Where nsswitch.conf does not name `files` for hosts, the host does not
 * read the file, and neither does this.
 */
export async function hostsFile(options: HostsFileOptions = {}): Promise<Layer & AsyncDisposable> {
  const { path = hostsFilePath(), files = hostFiles, clock } = options
  const names = hosts(options)
  const load = (texts: ReadonlyMap<string, string | undefined>): void => {
    const used = parseNsswitch(texts.get(NSSWITCH) ?? '').includes('files')
    names.load(used ? (texts.get(path) ?? '') : '')
  }
  const watch = await watchFiles({
    paths: [path, NSSWITCH],
    files,
    onChange: load,
    ...(clock === undefined ? {} : { clock }),
  })
  load(watch.texts)
  return {
    name: names.name,
    answer: (query, next) => names.answer(query, next),
    [Symbol.asyncDispose]: () => watch.close(),
  }
}
