/** resolv.conf(5), as glibc reads it. */

import { ipFamily, normalizeIp } from '@netkit/core'

/** A parsed resolv.conf. */
export interface ResolvConf {
  /** Addresses in order. */
  readonly nameservers: readonly string[]
  /** The last of `search` and `domain` wins. */
  readonly search: readonly string[]
  readonly options: ResolvConfOptions
  /** Lines that were understood by nobody, with their numbers: shown by `explain`, never an error. */
  readonly ignored: readonly string[]
}

/** The `options` that change what is sent. */
export interface ResolvConfOptions {
  ndots?: number
  /** Per server, `s`. */
  timeout?: number
  /** Rounds through the list. */
  attempts?: number
  /** Start with another server each time. */
  rotate?: boolean
  /** TCP only. */
  useVc?: boolean
  /** The servers' AD flag may be believed. */
  trustAd?: boolean
  /** AAAA is not asked for (glibc 2.36). */
  noAaaa?: boolean
}

/** glibc asks three servers at most (resolv.h, MAXNS). */
const MAX_NAMESERVERS = 3

/** Parses a resolv.conf. Never throws: what cannot be used is listed in `ignored`. */
export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = []
  let search: string[] = []
  const options: ResolvConfOptions = {}
  const ignored: string[] = []
  const fromEnd = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  for (const [i, raw] of fromEnd.entries()) {
    // glibc takes comments at the start of a line only, but nothing that it accepts holds these characters.
    const line = raw.replace(/[#;].*/, '').trim()
    if (line === '') continue
    const [keyword = '', ...words] = line.split(/\s+/)
    const ignore = (why: string): void => void ignored.push(`line ${i + 1}: ${why}: ${line}`)
    switch (keyword) {
      case 'nameserver': {
        const ip = words[0] ?? ''
        if (ip.includes('%'))
          ignore('a link-local server needs the interface, which cannot be given')
        else if (ipFamily(ip) === undefined) ignore('not an address')
        else if (nameservers.length === MAX_NAMESERVERS) ignore('more than three servers')
        else nameservers.push(normalizeIp(ip))
        break
      }
      case 'search':
        search = words
        break
      case 'domain':
        search = words.slice(0, 1)
        break
      case 'options':
        for (const word of words) applyOption(options, word)
        break
      case 'sortlist':
      case 'lookup':
      case 'family':
        break
      default:
        ignore('unknown keyword')
    }
  }
  return { nameservers, search: search.map((name) => name.replace(/\.$/, '')), options, ignored }
}

function applyOption(options: ResolvConfOptions, word: string): void {
  const [name = '', value = ''] = word.split(':')
  // The ceilings are glibc's (RES_MAXNDOTS, RES_MAXRETRANS, RES_MAXRETRY).
  const number = (most: number): number | undefined =>
    /^\d+$/.test(value) ? Math.min(Number(value), most) : undefined
  switch (name) {
    case 'ndots':
      options.ndots = number(15) ?? 1
      break
    case 'timeout':
      options.timeout = Math.max(1, number(30) ?? 5)
      break
    case 'attempts':
      options.attempts = Math.max(1, number(5) ?? 2)
      break
    case 'rotate':
      options.rotate = true
      break
    case 'use-vc':
      options.useVc = true
      break
    case 'trust-ad':
      options.trustAd = true
      break
    case 'no-aaaa':
      options.noAaaa = true
      break
    default:
  }
}
