/**
 * The functions that a PAC script may call (Netscape's "Navigator Proxy Auto-Config File Format", and Microsoft's IPv6 extensions,
 * whose names end in `Ex`). They are the same in every browser; where these differ, Chromium's way is taken.
 */

import { Cidr, ipFamily, NetkitError, parseIpv4, parseIpv6 } from '@netkit/core'

/** What the functions ask of the host. */
export interface PacHost {
  /** Addresses of a name; empty when it has none. Waits. */
  resolve(name: string): readonly string[]
  /** The host's own addresses. */
  readonly addresses: readonly string[]
  readonly now: () => Date
}

/** A function as scripts see it. What a script passes may be anything. */
export type PacFunction = (...args: readonly unknown[]) => string | number | boolean | null

/** The functions by name. */
export function pacFunctions(host: PacHost): Readonly<Record<string, PacFunction>> {
  const addressOf = (name: string): string | undefined =>
    ipFamily(name) === 4 ? name : ipv4(host.resolve(name))
  return {
    isPlainHostName: (name) => !text(name).includes('.') && !text(name).includes(':'),
    dnsDomainIs: (name, domain) => text(name).toLowerCase().endsWith(text(domain).toLowerCase()),
    localHostOrDomainIs: (name, full) => {
      const [short, long] = [text(name).toLowerCase(), text(full).toLowerCase()]
      return short === long || (!short.includes('.') && long.startsWith(`${short}.`))
    },
    isResolvable: (name) => addressOf(text(name)) !== undefined,
    isResolvableEx: (name) => host.resolve(text(name)).length > 0,
    isInNet: (name, network, mask) => {
      const ip = addressOf(text(name))
      return ip !== undefined && maskedBy(ip, text(network), text(mask))
    },
    isInNetEx: (name, prefix) => {
      const found = ipFamily(text(name)) === undefined ? host.resolve(text(name)) : [text(name)]
      return found.some((ip) => inBlock(ip, text(prefix)))
    },
    dnsResolve: (name) => addressOf(text(name)) ?? null,
    dnsResolveEx: (name) => host.resolve(text(name)).join(';'),
    myIpAddress: () => ipv4(host.addresses) ?? '127.0.0.1',
    myIpAddressEx: () => host.addresses.join(';'),
    sortIpAddressList: (list) => sorted(text(list)),
    convert_addr: (ip) => octets(text(ip))?.reduce((sum, octet) => sum * 256 + octet, 0) ?? 0,
    dnsDomainLevels: (name) => text(name).split('.').length - 1,
    shExpMatch: (subject, pattern) => shellMatch(text(subject), text(pattern)),
    weekdayRange: (...args) => weekdayRange(args, host.now()),
    dateRange: (...args) => dateRange(args, host.now()),
    timeRange: (...args) => timeRange(args, host.now()),
    getClientVersion: () => '1.0',
    // Nobody is there to see it.
    alert: () => null,
  }
}

const ipv4 = (addresses: readonly string[]): string | undefined =>
  addresses.find((ip) => ipFamily(ip) === 4)

const text = (value: unknown): string =>
  typeof value === 'string' || typeof value === 'number' ? `${value}` : ''

function octets(ip: string): number[] | undefined {
  const parts = ip.split('.').map(Number)
  const isIpv4 = parts.length === 4 && parts.every((part) => part >= 0 && part <= 255)
  return isIpv4 ? parts : undefined
}

function maskedBy(ip: string, network: string, mask: string): boolean {
  const [address, wanted, bits] = [octets(ip), octets(network), octets(mask)]
  if (!address || !wanted || !bits) return false
  return address.every(
    (octet, i) => (octet & (bits[i] ?? 0)) === ((wanted[i] ?? 0) & (bits[i] ?? 0)),
  )
}

function inBlock(ip: string, prefix: string): boolean {
  try {
    return Cidr.parse(prefix).contains(ip)
  } catch (error) {
    if (error instanceof NetkitError) return false
    throw error
  }
}

/** IPv6 first, each family in the order of its numbers; empty when one entry is no address. */
function sorted(list: string): string {
  const addresses = list.split(';').map((ip) => ip.trim())
  if (addresses.some((ip) => ipFamily(ip) === undefined)) return ''
  return addresses.toSorted(byFamilyAndNumber).join(';')
}

function byFamilyAndNumber(a: string, b: string): number {
  const [one, two] = [parseIpv6(a), parseIpv6(b)]
  if (one && two) return Buffer.compare(one, two)
  if (one || two) return one ? -1 : 1
  return (parseIpv4(a) ?? 0) - (parseIpv4(b) ?? 0)
}

/** `*` and `?`, by two pointers: a script cannot make it slow. */
function shellMatch(subject: string, pattern: string): boolean {
  let [at, index, star, mark] = [0, 0, -1, 0]
  while (at < subject.length) {
    if (pattern[index] === '*') {
      star = index++
      mark = at
    } else if (pattern[index] === '?' || pattern[index] === subject[at]) {
      at++
      index++
    } else if (star >= 0) {
      index = star + 1
      at = ++mark
    } else return false
  }
  while (pattern[index] === '*') index++
  return index === pattern.length
}

const DAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT']
const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC']

/** Whether the last argument says `GMT`, and the others. */
function zoned(args: readonly unknown[]): { isGmt: boolean; values: readonly unknown[] } {
  const isGmt = args.at(-1) === 'GMT'
  return { isGmt, values: isGmt ? args.slice(0, -1) : args }
}

/** From `first` to `last`, both included; beyond the end it goes on at the beginning. */
const inRange = (value: number, first: number, last: number): boolean =>
  first <= last ? value >= first && value <= last : value >= first || value <= last

function weekdayRange(args: readonly unknown[], now: Date): boolean {
  const { isGmt, values } = zoned(args)
  const [first = -1, last = first] = values.map((day) => DAYS.indexOf(text(day).toUpperCase()))
  if (first < 0 || last < 0) return false
  return inRange(isGmt ? now.getUTCDay() : now.getDay(), first, last)
}

function timeRange(args: readonly unknown[], now: Date): boolean {
  const { isGmt, values } = zoned(args)
  const [hour, minute, second] = isGmt
    ? [now.getUTCHours(), now.getUTCMinutes(), now.getUTCSeconds()]
    : [now.getHours(), now.getMinutes(), now.getSeconds()]
  const numbers = values.map(Number)
  if (numbers.some((number) => !Number.isInteger(number))) return false
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = numbers
  const at = hour * 3600 + minute * 60 + second
  switch (numbers.length) {
    case 1:
      return hour === a
    case 2:
      return inRange(hour, a, b)
    case 4:
      return inRange(hour * 60 + minute, a * 60 + b, c * 60 + d)
    case 6:
      return inRange(at, a * 3600 + b * 60 + c, d * 3600 + e * 60 + f)
    default:
      return false
  }
}

/** Days, months and years, in this order, once or twice. */
function dateRange(args: readonly unknown[], now: Date): boolean {
  const { isGmt, values } = zoned(args)
  const kinds = values.map(kindOf)
  if (kinds.includes(undefined) || values.length === 0) return false
  const today = isGmt
    ? { day: now.getUTCDate(), month: now.getUTCMonth(), year: now.getUTCFullYear() }
    : { day: now.getDate(), month: now.getMonth(), year: now.getFullYear() }
  if (values.length === 1) {
    const [kind] = kinds
    return kind !== undefined && today[kind] === numberOf(values[0])
  }
  const half = values.length / 2
  const names = kinds.slice(0, half)
  if (names.some((kind, i) => kind !== kinds[half + i])) return false
  const bound = (from: number): number =>
    weigh(new Map(names.map((kind, i) => [kind ?? '', numberOf(values[from + i])])))
  const current = new Map(names.map((kind) => [kind ?? '', kind ? today[kind] : 0]))
  return inRange(weigh(current), bound(0), bound(half))
}

/** One number for all that is named, the year counting most. */
const weigh = (parts: ReadonlyMap<string, number>): number =>
  ((parts.get('year') ?? 0) * 12 + (parts.get('month') ?? 0)) * 32 + (parts.get('day') ?? 0)

function kindOf(value: unknown): 'day' | 'month' | 'year' | undefined {
  if (MONTHS.includes(text(value).toUpperCase())) return 'month'
  const number = Number(value)
  if (!Number.isInteger(number) || number < 1) return undefined
  return number <= 31 ? 'day' : 'year'
}

const numberOf = (value: unknown): number => {
  const month = MONTHS.indexOf(text(value).toUpperCase())
  return month < 0 ? Number(value) : month
}
