/** What `scutil --dns` prints: macOS's resolver configuration, VPNs and /etc/resolver included. */

import { ipFamily, normalizeIp } from '@netkit/core'
import type { HostServer } from '../host-resolver.ts'

/** One resolver of `scutil --dns` (configd's `dns_resolver_t`). */
export interface ScutilResolver {
  /** The suffix it is for; left out for the default. */
  readonly domain?: string
  readonly search: readonly string[]
  readonly nameservers: readonly string[]
  readonly port?: number
  /** `mdns` is multicast DNS. */
  readonly options: readonly string[]
  /** Lower is asked first. */
  readonly order: number
  readonly flags: readonly string[]
  readonly reach?: string
  /** `default` is what every program uses; the others are for programs that bind to an interface or a service. */
  readonly section: 'default' | 'scoped' | 'service'
}

interface Draft {
  domain?: string
  search: string[]
  nameservers: string[]
  port?: number
  options: string[]
  order: number
  flags: string[]
  reach?: string
  section: ScutilResolver['section']
}

/** Parses the output of `scutil --dns`. Never throws: what it does not know it leaves out. */
export function parseScutilDns(text: string): ScutilResolver[] {
  const resolvers: Draft[] = []
  let section: Draft['section'] = 'default'
  let current: Draft | undefined
  for (const raw of text.split(/\r?\n/)) {
    const line = raw.trim()
    if (line.startsWith('DNS configuration')) {
      section = line.includes('scoped')
        ? 'scoped'
        : line.includes('service')
          ? 'service'
          : 'default'
      current = undefined
    } else if (/^resolver #\d+/.test(line)) {
      current = { search: [], nameservers: [], options: [], order: 0, flags: [], section }
      resolvers.push(current)
    } else if (current) {
      const colon = line.indexOf(' : ')
      if (colon < 0) continue
      assign(current, line.slice(0, colon).trim(), line.slice(colon + 3).trim())
    }
  }
  return resolvers
}

function assign(resolver: Draft, key: string, value: string): void {
  if (key.startsWith('search domain')) resolver.search.push(value)
  else if (key.startsWith('nameserver')) {
    // fe80::1%en0: an address that needs its interface cannot be asked from here.
    if (ipFamily(value) !== undefined) resolver.nameservers.push(normalizeIp(value))
  } else if (key === 'domain') {
    // An empty domain is the default, as SupplementalMatchDomains with an empty entry makes it.
    if (value !== '') resolver.domain = value.replace(/\.$/, '').toLowerCase()
  } else if (key === 'port' && /^\d+$/.test(value)) resolver.port = Number(value)
  else if (key === 'options') resolver.options.push(...value.split(/[\s,]+/))
  else if (key === 'order' && /^\d+$/.test(value)) resolver.order = Number(value)
  else if (key === 'flags') resolver.flags = value.split(/,\s*/)
  else if (key === 'reach') resolver.reach = value
}

/** The routing that the resolvers make: servers with their suffixes, those of lower order first. */
export function scutilServers(resolvers: readonly ScutilResolver[]): HostServer[] {
  const unicast = resolvers.filter(
    ({ section, options, nameservers }) =>
      section === 'default' && !options.includes('mdns') && nameservers.length > 0,
  )
  const servers = new Map<string, { ip: string; port: number; domains: string[] }>()
  for (const { domain = '.', nameservers, port = 53 } of unicast.toSorted(
    (a, b) => a.order - b.order,
  )) {
    for (const ip of nameservers) {
      const key = `${ip} ${port}`
      const server = servers.get(key) ?? { ip, port, domains: [] }
      servers.set(key, server)
      if (!server.domains.includes(domain)) server.domains.push(domain)
    }
  }
  return [...servers.values()]
}

/** A file of /etc/resolver (resolver(5)): `domain` is its name unless it says another. */
export function parseResolverFile(name: string, text: string): ScutilResolver {
  const draft: Draft = {
    search: [],
    nameservers: [],
    options: [],
    order: 0,
    flags: [],
    section: 'default',
  }
  draft.domain = name.toLowerCase()
  for (const raw of text.split(/\r?\n/)) {
    const [key = '', ...words] = raw
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/)
    const [value = ''] = words
    if (key === 'search') draft.search.push(...words)
    else if (key === 'search_order') assign(draft, 'order', value)
    else if (key === 'nameserver') {
      // 192.0.2.1.5353: BSD's way to write a port behind an address.
      const ported = /^(\d+\.\d+\.\d+\.\d+)\.(\d+)$/.exec(value)
      assign(draft, 'nameserver', ported?.[1] ?? value)
      if (ported) assign(draft, 'port', ported[2] ?? '')
    } else assign(draft, key, words.join(' '))
  }
  return draft
}
