/**
 * macOS: the proxies of the primary network service, as `scutil --proxy` prints them.
 *
 * ```
 *   scutil, kept open:  n.add State:/Network/Global/Proxies · …/Service/[^/]+/Proxies · n.watch ─▶ any line ─▶ 100 ms ─▶ scutil --proxy
 * ```
 *
 * Credentials are in the keychain, where a program without the user's leave does not get them: `HTTPUser` is told and not used.
 */

import { systemClock } from '@netkit/core'
import type { Clock } from '@netkit/core'
import { keepProcess, runProcess, startProcess, WATCH_POLL_MS } from '@netkit/core/node'
import type { StartProcess } from '@netkit/core/node'
import { parseProxy } from '../proxy-settings.ts'
import type { ProxySettings, SettingsWatch } from '../proxy-settings.ts'
import { LiveSettings } from './live-settings.ts'
import { parsePropertyList } from './property-list.ts'
import type { PropertyDictionary } from './property-list.ts'

const SCUTIL = '/usr/sbin/scutil'
const WATCH_SCRIPT = [
  'n.add State:/Network/Global/Proxies',
  'n.add State:/Network/Service/[^/]+/Proxies pattern',
  'n.watch',
  '',
].join('\n')

/** Options of `macSettings`. */
export interface MacSettingsOptions {
  readonly start?: StartProcess
  readonly clock?: Clock
}

/** Follows the settings of a Mac. Resolves once they are read. */
export async function macSettings(options: MacSettingsOptions = {}): Promise<SettingsWatch> {
  const { start = startProcess, clock = systemClock } = options
  const live = new LiveSettings({
    origin: { source: 'scutil --proxy', changes: 'events', pollMs: WATCH_POLL_MS },
    clock,
    read: async () => {
      const text = await runProcess(start, SCUTIL, ['--proxy'])
      return text === undefined ? undefined : parseScutilProxy(text)
    },
  })
  await live.refresh()
  const stop = keepProcess({
    start,
    clock,
    command: SCUTIL,
    args: [],
    input: WATCH_SCRIPT,
    onOutput: () => live.soon(),
    onGap: () => live.soon(),
  })
  live.closeWith(stop)
  live.pollEvery(WATCH_POLL_MS)
  return live
}

/** Reads the output of `scutil --proxy`. Never throws. */
export function parseScutilProxy(text: string): ProxySettings {
  // `__SCOPED__` repeats it per interface, for programs that bind to one.
  const list = parsePropertyList(text)
  const ignored: string[] = []
  const isOn = (key: string): boolean => list[key] === '1'
  const proxyOf = (kind: 'HTTP' | 'HTTPS' | 'SOCKS'): ReturnType<typeof parseProxy> => {
    if (!isOn(`${kind}Enable`)) return undefined
    const host = wordOf(list, `${kind}Proxy`)
    const port = Number(wordOf(list, `${kind}Port`))
    const written = host.includes(':') ? `[${host}]` : host
    const hop = parseProxy(written, {
      scheme: kind === 'SOCKS' ? 'socks5' : 'http',
      ...(port > 0 && { port }),
    })
    if (hop === undefined) ignored.push(`${kind}Proxy : ${host}`)
    const user = wordOf(list, `${kind}User`)
    if (user !== '') ignored.push(`${kind}User: its password is in the keychain`)
    return hop
  }
  const [http, https, all] = [proxyOf('HTTP'), proxyOf('HTTPS'), proxyOf('SOCKS')]
  const pacUrl = isOn('ProxyAutoConfigEnable') ? wordOf(list, 'ProxyAutoConfigURLString') : ''
  if (isOn('ProxyAutoConfigEnable') && pacUrl === '') {
    ignored.push('ProxyAutoConfigEnable without a URL')
  }
  if (isOn('ProxyAutoDiscoveryEnable'))
    ignored.push('ProxyAutoDiscoveryEnable: WPAD is not followed')
  const exceptions = list['ExceptionsList']
  return {
    ...(http && { http }),
    ...(https && { https }),
    ...(all && { all }),
    ...(pacUrl !== '' && { pacUrl }),
    exceptions: Array.isArray(exceptions)
      ? exceptions.filter((entry) => typeof entry === 'string')
      : [],
    exceptionOptions: { simpleNames: isOn('ExcludeSimpleHostnames') },
    ignored,
  }
}

function wordOf(list: PropertyDictionary, key: string): string {
  const value = list[key]
  return typeof value === 'string' ? value.trim() : ''
}
