/**
 * GNOME and the desktops that share its settings (Unity, Cinnamon, Budgie, Pantheon): `org.gnome.system.proxy`.
 *
 * ```
 *   gsettings monitor, one per schema ─▶ any line ─▶ 100 ms ─▶ gsettings list-recursively org.gnome.system.proxy
 * ```
 */

import { systemClock } from '@netkit/core'
import type { Clock } from '@netkit/core'
import { keepProcess, runProcess, startProcess } from '@netkit/core/node'
import type { StartProcess } from '@netkit/core/node'
import { parseProxy } from '../proxy-settings.ts'
import type { ProxySettings, SettingsWatch } from '../proxy-settings.ts'
import { LiveSettings } from './live-settings.ts'

const SCHEMA = 'org.gnome.system.proxy'
// `monitor` tells of one schema, not of those below it.
const SCHEMAS = [SCHEMA, `${SCHEMA}.http`, `${SCHEMA}.https`, `${SCHEMA}.socks`]

/** Options of `gnomeSettings`. */
export interface GnomeSettingsOptions {
  readonly start?: StartProcess
  readonly clock?: Clock
}

/** Follows the settings of a GNOME session; `undefined` when there is no `gsettings`, or it does not know the schema. */
export async function gnomeSettings(
  options: GnomeSettingsOptions = {},
): Promise<SettingsWatch | undefined> {
  const { start = startProcess, clock = systemClock } = options
  const list = (): Promise<string | undefined> =>
    runProcess(start, 'gsettings', ['list-recursively', SCHEMA])
  const first = await list()
  if (first === undefined || !first.includes(SCHEMA)) return undefined
  const live = new LiveSettings({
    origin: { source: `gsettings ${SCHEMA}`, changes: 'events' },
    clock,
    read: async () => {
      const text = await list()
      return text === undefined ? undefined : parseGsettings(text)
    },
  })
  live.set(parseGsettings(first))
  for (const schema of SCHEMAS) {
    const stop = keepProcess({
      start,
      clock,
      command: 'gsettings',
      args: ['monitor', schema],
      onOutput: () => live.soon(),
      onGap: () => live.soon(),
    })
    live.closeWith(stop)
  }
  return live
}

/** Reads the output of `gsettings list-recursively org.gnome.system.proxy`. Never throws. */
export function parseGsettings(text: string): ProxySettings {
  const values = new Map<string, string>()
  for (const line of text.split(/\r?\n/)) {
    const { schema, key, value } =
      /^(?<schema>\S+) (?<key>\S+) (?<value>.*)$/.exec(line)?.groups ?? {}
    if (schema?.startsWith(SCHEMA)) {
      values.set(`${schema.slice(SCHEMA.length + 1)} ${key}`.trim(), value ?? '')
    }
  }
  const ignored: string[] = []
  const word = (key: string): string => variantStrings(values.get(key) ?? '')[0] ?? ''
  const exceptions = variantStrings(values.get('ignore-hosts') ?? '')
  const mode = word('mode')
  if (mode === 'auto') {
    const pacUrl = word('autoconfig-url')
    // An empty URL asks for WPAD.
    if (pacUrl !== '') return { pacUrl, exceptions, ignored }
    return { ignored: ['mode auto without a URL: WPAD is not followed'] }
  }
  if (mode !== 'manual') return { ignored }
  const proxyOf = (kind: 'http' | 'https' | 'socks'): ReturnType<typeof parseProxy> => {
    const host = word(`${kind} host`)
    const port = Number(/\d+$/.exec(values.get(`${kind} port`) ?? '')?.[0] ?? 0)
    if (host === '' || port === 0) return undefined
    const hop = parseProxy(host.includes(':') && !host.includes('//') ? `[${host}]` : host, {
      scheme: kind === 'socks' ? 'socks5' : 'http',
      port,
    })
    if (hop === undefined) ignored.push(`${kind} host ${host}`)
    if (hop === undefined || kind !== 'http' || values.get('http use-authentication') !== 'true') {
      return hop
    }
    const username = word('http authentication-user')
    const password = word('http authentication-password')
    return username === '' ? hop : { ...hop, credentials: { username, password } }
  }
  const [http, https, socks] = [proxyOf('http'), proxyOf('https'), proxyOf('socks')]
  const all = socks ?? (values.get('use-same-proxy') === 'true' ? http : undefined)
  return {
    ...(http && { http }),
    ...(https && { https }),
    ...(all && { all }),
    exceptions,
    ignored,
  }
}

/** The strings in GVariant's text form: `'a'`, `['a', "b"]`, `@as []`. */
function variantStrings(text: string): string[] {
  return [...text.matchAll(/'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"/g)].map(([, single, double]) =>
    (single ?? double ?? '').replaceAll(/\\(.)/g, '$1'),
  )
}
