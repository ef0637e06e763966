/**
 * Which targets go past the proxy: one matcher for every dialect of exceptions lists.
 *
 * | entry | matches |
 * |---|---|
 * | `*` | everything |
 * | `corp.example` | the name and all below it (curl, Go, macOS) |
 * | `.corp.example`, `*.corp.example` | all below it, and for the first also the name itself |
 * | `build-*` , `10.*` | by pattern, on names and on IPv4 addresses (Windows) |
 * | `host:8080`, `[::1]:8080` | on that port only |
 * | `10.0.0.0/8`, `169.254/16`, `fd00::/8` | addresses in the block; missing octets are 0 (macOS) |
 * | `<local>` | names without a dot (Windows) |
 * | `<-loopback>` | takes back that loopback targets are always exempt (Windows) |
 * | `http://host` | the scheme is ignored (Windows) |
 *
 * Names are compared without case and without the root's dot. Loopback targets never go to a proxy unless `<-loopback>` is listed: a
 * proxy elsewhere would reach its own.
 */

import { addressScope, Cidr, ipFamily, NetkitError, normalizeIp } from '@netkit/core'

/** What is asked of a matcher. */
export interface ExceptionTarget {
  readonly host: string
  readonly port: number
}

/** A compiled list. */
export interface Exceptions {
  /** The entry that matches, as it was written, or `undefined`. */
  match(target: ExceptionTarget): string | undefined
  /** Entries that mean nothing and are ignored. */
  readonly ignored: readonly string[]
}

/** Options of `compileExceptions`. */
export interface ExceptionOptions {
  /** Names without a dot are exempt, as by `<local>` (macOS: ExcludeSimpleHostnames). */
  readonly simpleNames?: boolean
  /** A suffix also matches the name itself; Windows and GNOME match bare names exactly. Default `true`. */
  readonly suffixes?: boolean
}

interface Rule {
  readonly entry: string
  readonly port: number | undefined
  matches(host: string, family: 4 | 6 | undefined): boolean
}

/**
 * Compiles a list; entries may themselves hold several, separated by `,`, `;`, `|` or white space.
 *
 * @example
 * ```ts
 * import { compileExceptions } from '@netkit/proxy'
 *
 * const exceptions = compileExceptions(['*.corp.example;10.0.0.0/8', '<local>'])
 * console.assert(exceptions.match({ host: 'git.corp.example', port: 443 }) === '*.corp.example')
 * console.assert(exceptions.match({ host: '10.1.2.3', port: 80 }) === '10.0.0.0/8')
 * console.assert(exceptions.match({ host: 'printer', port: 80 }) === '<local>')
 * console.assert(exceptions.match({ host: 'www.example', port: 80 }) === undefined)
 * ```
 */
export function compileExceptions(
  entries: readonly string[],
  options: ExceptionOptions = {},
): Exceptions {
  const rules: Rule[] = []
  const ignored: string[] = []
  let simpleNames = options.simpleNames ? 'simple names are excluded' : undefined
  let loopback = true
  for (const entry of entries.flatMap((text) => text.split(/[\s,;|]+/)).filter(Boolean)) {
    const word = entry.toLowerCase()
    if (word === '<local>') simpleNames = entry
    else if (word === '<-loopback>') loopback = false
    else {
      const rule = compileEntry(entry, options.suffixes ?? true)
      if (rule === undefined) ignored.push(entry)
      else rules.push(rule)
    }
  }
  return {
    ignored,
    match({ host: text, port }) {
      const host = normalHost(text)
      const family = ipFamily(host)
      if (loopback && isLoopback(host, family)) return 'loopback'
      if (simpleNames !== undefined && family === undefined && !host.includes('.'))
        return simpleNames
      return rules.find(
        (rule) => (rule.port === undefined || rule.port === port) && rule.matches(host, family),
      )?.entry
    },
  }
}

function compileEntry(entry: string, suffixes: boolean): Rule | undefined {
  const word = entry
    .toLowerCase()
    .replace(/^[a-z][a-z0-9+.-]*:\/\//, '')
    .replace(/\/$/, '')
  const block = /^(?<network>\[?[\d.a-f:]+\]?)\/(?<bits>\d+)$/.exec(word)?.groups
  if (block) return blockRule(entry, block['network'] ?? '', block['bits'] ?? '')
  const { host: rawHost, port } = splitPort(word)
  const host = rawHost.replace(/\.$/, '')
  if (host === '' || /[/@<>[\]]/.test(host)) return undefined
  if (host === '*') return { entry, port, matches: () => true }
  if (ipFamily(host) !== undefined) {
    const ip = normalizeIp(host)
    return { entry, port, matches: (name, family) => family !== undefined && name === ip }
  }
  if (host.startsWith('.')) {
    return { entry, port, matches: (name) => name === host.slice(1) || name.endsWith(host) }
  }
  if (host.includes('*')) {
    const parts = host.split('*')
    return { entry, port, matches: (name) => matchesGlob(name, parts) }
  }
  const below = `.${host}`
  return {
    entry,
    port,
    matches: (name, family) =>
      family === undefined && (name === host || (suffixes && name.endsWith(below))),
  }
}

/** Without a regular expression: a list from the network cannot make matching slow. */
function matchesGlob(name: string, parts: readonly string[]): boolean {
  const first = parts[0] ?? ''
  const last = parts.at(-1) ?? ''
  if (name.length < first.length + last.length) return false
  if (!name.startsWith(first) || !name.endsWith(last)) return false
  let at = first.length
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at)
    if (found < 0 || found + part.length > name.length - last.length) return false
    at = found + part.length
  }
  return true
}

function blockRule(entry: string, network: string, bits: string): Rule | undefined {
  const ip = network.replace(/^\[|\]$/g, '')
  const octets = ip.split('.')
  const full = ip.includes(':') ? ip : [...octets, '0', '0', '0'].slice(0, 4).join('.')
  try {
    const cidr = Cidr.parse(`${full}/${bits}`)
    return {
      entry,
      port: undefined,
      matches: (host, family) => family !== undefined && cidr.contains(host),
    }
  } catch (error) {
    if (error instanceof NetkitError) return undefined
    throw error
  }
}

function splitPort(word: string): { host: string; port: number | undefined } {
  const bracketed = /^\[(?<host>[^\]]+)\](?::(?<port>\d+))?$/.exec(word)?.groups
  const plain = /^(?<host>[^:]+):(?<port>\d+)$/.exec(word)?.groups
  const { host, port } = bracketed ?? plain ?? { host: word, port: undefined }
  return { host: host ?? '', port: port === undefined ? undefined : Number(port) }
}

function isLoopback(host: string, family: 4 | 6 | undefined): boolean {
  if (family !== undefined) return addressScope(host) === 'loopback'
  return host === 'localhost' || host.endsWith('.localhost')
}

/** A host as it is compared: lower case, no root's dot, no brackets; addresses in canonical form. */
export function normalHost(text: string): string {
  const host = text.toLowerCase().replace(/^\[(.*)\]$/, '$1')
  return ipFamily(host) === undefined ? host.replace(/\.$/, '') : normalizeIp(host)
}
