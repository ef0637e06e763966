/**
 * KDE: `[Proxy Settings]` of kioslaverc, which Plasma 6 reads too.
 *
 * | `ProxyType` | |
 * |---|---|
 * | 0 | none |
 * | 1 | `httpProxy=http://proxy.example 8080`: the port follows a space |
 * | 2 | `Proxy Config Script` |
 * | 3 | automatic detection; not followed |
 * | 4 | the values are names of environment variables |
 */

import { join } from 'node:path'
import type { Clock } from '@netkit/core'
import type { HostFiles } from '@netkit/core/node'
import type { Environment } from '../env-settings.ts'
import { parseProxy } from '../proxy-settings.ts'
import type { ProxySettings, SettingsWatch } from '../proxy-settings.ts'
import { fileBackedSettings } from './file-settings.ts'

/** Options of `kdeSettings`. */
export interface KdeSettingsOptions {
  /** Default this process's. */
  readonly environment?: Environment
  readonly files?: HostFiles
  readonly clock?: Clock
}

/** Follows the settings of a KDE session. */
export async function kdeSettings(options: KdeSettingsOptions = {}): Promise<SettingsWatch> {
  const { environment = process.env } = options
  const home = environment['HOME'] ?? '/'
  const folder = environment['XDG_CONFIG_HOME'] ?? join(home, '.config')
  // Written by Plasma 5 and 6; some distributions set defaults for all users in the second.
  const paths = [join(folder, 'kioslaverc'), '/etc/xdg/kioslaverc']
  return fileBackedSettings('kioslaverc', paths, options, (texts) => {
    const text = paths
      .map((path) => texts.get(path))
      .find((found) => found?.includes('[Proxy Settings]'))
    return text === undefined ? {} : parseKioslaverc(text, environment)
  })
}

/** Reads kioslaverc. Never throws. */
export function parseKioslaverc(text: string, environment: Environment = {}): ProxySettings {
  const values = groupValues(text, 'Proxy Settings')
  const ignored: string[] = []
  const type = Number(values.get('ProxyType') ?? 0)
  if (type === 2) {
    const pacUrl = values.get('Proxy Config Script')?.trim() ?? ''
    if (pacUrl === '') return { ignored: ['ProxyType 2 without a script'] }
    return { pacUrl: pacUrl.startsWith('/') ? `file://${pacUrl}` : pacUrl, ignored }
  }
  if (type === 3) return { ignored: ['ProxyType 3: WPAD is not followed'] }
  if (type !== 1 && type !== 4) return { ignored }
  const read = (key: string): string => {
    const value = values.get(key)?.trim() ?? ''
    return type === 4 ? (environment[value] ?? '') : value
  }
  const proxyOf = (key: string, scheme: 'http' | 'socks5'): ReturnType<typeof parseProxy> => {
    const written = read(key)
    if (written === '') return undefined
    const hop = parseProxy(written, { scheme })
    if (hop === undefined) ignored.push(`${key}=${written.replace(/\/\/[^@/]*@/, '//…@')}`)
    return hop
  }
  const http = proxyOf('httpProxy', 'http')
  const https = proxyOf('httpsProxy', 'http')
  const all = proxyOf('socksProxy', 'socks5')
  return {
    ...(http && { http }),
    ...(https && { https }),
    ...(all && { all }),
    exceptions: read('NoProxyFor')
      .split(/[,\s]+/)
      .filter(Boolean),
    ...(values.get('ReversedException') === 'true' && { onlyExceptions: true }),
    ignored,
  }
}

/** The keys of one group of a KConfig file; `[$e]` and its like behind a key are options of it. */
function groupValues(text: string, group: string): Map<string, string> {
  const values = new Map<string, string>()
  let inside = false
  for (const line of text.split(/\r?\n/)) {
    const header = /^\[(?<name>[^\]]+)\]/.exec(line)?.groups?.['name']
    if (header !== undefined) inside = header === group
    const { key, value } = /^(?<key>[^=[#]+)(?:\[[^\]]*\])?=(?<value>.*)$/.exec(line)?.groups ?? {}
    if (inside && key !== undefined) values.set(key.trim(), value ?? '')
  }
  return values
}
