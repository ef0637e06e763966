/** The words of a PAC script's answer. */

import type { Hop, ProxyTarget } from '../decision.ts'
import { formatAuthority } from '../decision.ts'
import { parseProxy } from '../proxy-settings.ts'

const VIA = new Map([
  ['PROXY', 'http'],
  ['HTTP', 'http'],
  ['HTTPS', 'https'],
  ['SOCKS', 'socks5'],
  ['SOCKS5', 'socks5'],
] as const)

/**
 * Reads `PROXY a.example:8080; SOCKS b.example; DIRECT`. An empty answer is DIRECT, as in browsers; words that mean nothing are passed
 * over. `SOCKS` is taken for SOCKS5, which servers of version 4 of the last 25 years speak too.
 *
 * @returns `undefined` when there is something and nothing of it can be used.
 */
export function parsePacAnswer(answer: string): readonly Hop[] | undefined {
  const words = answer
    .split(';')
    .map((word) => word.trim())
    .filter((word) => word !== '')
  if (words.length === 0) return [{ via: 'direct' }]
  const hops = words.flatMap((word): Hop[] => {
    if (/^direct$/i.test(word)) return [{ via: 'direct' }]
    const [kind = '', where = ''] = word.split(/\s+/, 2)
    const scheme = VIA.get(kind.toUpperCase() as 'PROXY')
    const hop = scheme && where !== '' ? parseProxy(where, { scheme }) : undefined
    return hop ? [hop] : []
  })
  return hops.length > 0 ? hops : undefined
}

/**
 * The URL that a script is asked about: scheme, host and port. Path and query are nobody's business here, and a tunnel of an unknown
 * protocol is asked about as https, which it most often carries.
 */
export function pacUrlOf({ scheme, host, port }: ProxyTarget): string {
  const isHttp = scheme === 'http'
  const isDefault = port === (isHttp ? 80 : 443)
  const authority = formatAuthority(host, port)
  return `${isHttp ? 'http' : 'https'}://${isDefault ? authority.replace(/:\d+$/, '') : authority}/`
}
