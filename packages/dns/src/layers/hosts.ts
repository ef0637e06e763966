/** hosts(5): names of the host's own file. */

import { ipFamily, isNetkitError, normalizeIp } from '@netkit/core'
import type { Answer, Layer, Next } from '../layer.ts'
import { HOSTS_ENTRIES, LOCAL_TTL_S } from '../limits.ts'
import type { DnsQuery } from '../query.ts'
import { makeReply } from '../reply.ts'
import type { OwnRecord } from '../reply.ts'
import { nameToWire, parseName } from '../wire/name.ts'
import type { Name } from '../wire/name.ts'
import { NameTable } from '../wire/name-table.ts'
import { encodeRecord } from '../wire/record-data.ts'
import { reverseName } from '../wire/reverse-name.ts'
import { RR_TYPE } from '../wire/rr-type.ts'
import { addressRecord } from './docker-internal.ts'

/** A parsed hosts file. */
export interface HostsFile {
  /** One line each: the address and its names, the canonical one first. */
  readonly entries: readonly { readonly ip: string; readonly names: readonly string[] }[]
  /** Lines that could not be used, with their numbers. */
  readonly ignored: readonly string[]
}

/** Reads a hosts file: comments, CRLF, tabs, a byte order mark. Never throws. */
export function parseHosts(text: string): HostsFile {
  const entries: { ip: string; names: string[] }[] = []
  const ignored: string[] = []
  let count = 0
  const lines = text.replace(/^\uFEFF/, '').split('\n')
  for (const [i, raw] of lines.entries()) {
    const line = raw.replace(/#.*/, '').trim()
    if (line === '') continue
    const [address = '', ...words] = line.split(/\s+/)
    // macOS writes fe80::1%lo0: an address that only means something on the host.
    if (ipFamily(address) === undefined) {
      ignored.push(`line ${i + 1}: not an address: ${address}`)
      continue
    }
    const names = words.filter((word) => isName(word))
    if (names.length < words.length) ignored.push(`line ${i + 1}: not a name in: ${line}`)
    if (names.length === 0) continue
    if (++count > HOSTS_ENTRIES) {
      ignored.push(`line ${i + 1} and all after it: more than ${HOSTS_ENTRIES} entries`)
      break
    }
    entries.push({ ip: normalizeIp(address), names })
  }
  return { entries, ignored }
}

function isName(text: string): boolean {
  try {
    return nameToWire(text).length > 1
  } catch (error) {
    if (isNetkitError(error)) return false
    throw error
  }
}

/** Options of `hosts`. */
export interface HostsOptions {
  /**
   * What stands in for loopback addresses: 127.0.0.1 is the host in the host's file, and the guest itself in the guest. Give the host
   * alias; left out they are answered as they are written.
   */
  loopback?: readonly string[]
  /** `s`. Default 5. */
  ttl?: number
}

/**
 * The names of a hosts file. A name that it has is claimed for both families (a missing one is NODATA); other types of it go on, as
 * they do on the host, where the file knows addresses only.
 */
export class Hosts implements Layer {
  readonly name = 'hosts'
  readonly #loopback: readonly string[] | undefined
  readonly #ttl: number
  #addresses = new NameTable<string[]>()
  #names = new NameTable<Name>()
  #ignored: readonly string[] = []

  constructor(options: HostsOptions = {}) {
    this.#loopback = options.loopback
    this.#ttl = options.ttl ?? LOCAL_TTL_S
  }

  /** Takes on a file's text; what was there before is gone. */
  load(text: string): this {
    const { entries, ignored } = parseHosts(text)
    const addresses = new NameTable<string[]>()
    const names = new NameTable<Name>()
    for (const { ip, names: all } of entries) {
      for (const word of all) {
        const name = parseName(word)
        const known = addresses.get(name)
        if (!known) addresses.set(name, [ip])
        else if (!known.includes(ip)) known.push(ip)
      }
      const reverse = parseName(reverseName(ip) ?? '.')
      if (!names.get(reverse)) names.set(reverse, parseName(all[0] ?? '.'))
    }
    this.#addresses = addresses
    this.#names = names
    this.#ignored = ignored
    return this
  }

  /** Names, and lines that could not be used. */
  stats(): { names: number; ignored: readonly string[] } {
    return { names: this.#addresses.size, ignored: this.#ignored }
  }

  answer(query: DnsQuery, next: Next): Answer {
    const { type } = query
    if (type === RR_TYPE.PTR) {
      const name = this.#names.get(query.name)
      if (!name) return next(query)
      const record = { type, ttl: this.#ttl, rdata: name.toWire() }
      return makeReply(query, { from: this.name, records: [record], authoritative: true })
    }
    if (type !== RR_TYPE.A && type !== RR_TYPE.AAAA) return next(query)
    const ips = this.#addresses.get(query.name)
    if (!ips) return next(query)
    const records: OwnRecord[] = []
    for (const ip of this.#reachable(ips)) {
      const encoded = encodeRecord(addressRecord(ip))
      if (encoded.type === type) records.push({ ...encoded, ttl: this.#ttl })
    }
    return makeReply(query, { from: this.name, records, authoritative: true })
  }

  #reachable(ips: readonly string[]): readonly string[] {
    const loopback = this.#loopback
    if (!loopback) return ips
    const own = ips.filter((ip) => !isLoopback(ip))
    return own.length === ips.length ? ips : [...own, ...loopback]
  }
}

const isLoopback = (ip: string): boolean => ip === '::1' || ip.startsWith('127.')

/**
 * The names of a hosts file.
 *
 * @example
 * ```ts
 * import { createResponder, hosts } from '@netkit/dns'
 *
 * const layer = hosts().load('192.0.2.7  build.lan build\n')
 * const { answer } = await createResponder({ layers: [layer] }).explain('build')
 * console.assert(answer === 'NOERROR: build A 5 192.0.2.7')
 * ```
 */
export function hosts(options: HostsOptions = {}): Hosts {
  return new Hosts(options)
}
