/**
 * The `*_proxy` variables, both ways: what the host's environment asks for, and what a guest is given.
 *
 * There is no standard. Reading takes the superset of curl, Go and Python. Writing gives both cases, since curl reads `http_proxy` in
 * lower case only and others upper case only, and sets `https_proxy` whenever `http_proxy` is.
 */

import { formatAuthority } from './decision.ts'
import { parseProxy } from './proxy-settings.ts'
import type { ProxySettings } from './proxy-settings.ts'

/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Reads the variables; lower case wins. `HTTP_PROXY` is not read where a CGI request could have set it (`REQUEST_METHOD`). */
export function envSettings(environment: Environment): ProxySettings {
  const ignored: string[] = []
  const read = (name: string): ReturnType<typeof parseProxy> => {
    const isCgi = name === 'http_proxy' && environment['REQUEST_METHOD'] !== undefined
    const text = environment[name] ?? (isCgi ? undefined : environment[name.toUpperCase()])
    if (text === undefined || text === '') return undefined
    const hop = parseProxy(text)
    if (hop === undefined) ignored.push(`${name}=${text.replace(/\/\/[^@/]*@/, '//…@')}`)
    return hop
  }
  const http = read('http_proxy')
  const https = read('https_proxy')
  const all = read('all_proxy')
  const exceptions = environment['no_proxy'] ?? environment['NO_PROXY'] ?? ''
  return {
    ...(http && { http }),
    ...(https && { https }),
    ...(all && { all }),
    exceptions: exceptions === '' ? [] : [exceptions],
    ignored,
  }
}

/** Options of `guestProxyEnv`. */
export interface GuestProxyEnvOptions {
  /** The proxy as the guest reaches it. Default `http.docker.internal:3128`. */
  readonly proxy?: { readonly host: string; readonly port: number }
  /** Names and addresses that guests reach without it: the gateway's names, the guests' subnet. */
  readonly direct?: readonly string[]
  /**
   * Whose `no_proxy` is written. `curl` and `go` understand blocks of addresses, and a bare name covers all below it; `python` knows
   * suffixes only, so blocks are left out. Default `curl`.
   */
  readonly dialect?: 'curl' | 'go' | 'python'
}

/**
 * Variables for programs in a guest. They name the stable address only: when the host's proxy changes, they stay true.
 *
 * @example
 * ```ts
 * import { guestProxyEnv } from '@netkit/proxy'
 *
 * const env = guestProxyEnv({ direct: ['192.168.65.0/24', 'host.docker.internal'] })
 * console.assert(env['https_proxy'] === 'http://http.docker.internal:3128')
 * console.assert(env['NO_PROXY'] === 'localhost,127.0.0.1,::1,192.168.65.0/24,host.docker.internal')
 * ```
 */
export function guestProxyEnv(options: GuestProxyEnvOptions = {}): Record<string, string> {
  const { host, port } = options.proxy ?? { host: 'http.docker.internal', port: 3128 }
  const url = `http://${formatAuthority(host, port)}`
  const direct = ['localhost', '127.0.0.1', '::1', ...(options.direct ?? [])].filter(
    (entry) => options.dialect !== 'python' || !entry.includes('/'),
  )
  const values = { http_proxy: url, https_proxy: url, no_proxy: [...new Set(direct)].join(',') }
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => [
      [name, value],
      [name.toUpperCase(), value],
    ]),
  )
}
