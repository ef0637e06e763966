/** Record types, by the IANA registry "Resource Record (RR) TYPEs". */

/** Numbers of the types that netkit has a name for. Any other is written `TYPE65535` (RFC 3597 5). */
export const RR_TYPE = {
  A: 1,
  NS: 2,
  MD: 3,
  MF: 4,
  CNAME: 5,
  SOA: 6,
  MB: 7,
  MG: 8,
  MR: 9,
  NULL: 10,
  WKS: 11,
  PTR: 12,
  HINFO: 13,
  MINFO: 14,
  MX: 15,
  TXT: 16,
  RP: 17,
  AFSDB: 18,
  X25: 19,
  ISDN: 20,
  RT: 21,
  SIG: 24,
  KEY: 25,
  PX: 26,
  AAAA: 28,
  LOC: 29,
  SRV: 33,
  NAPTR: 35,
  KX: 36,
  CERT: 37,
  DNAME: 39,
  OPT: 41,
  APL: 42,
  DS: 43,
  SSHFP: 44,
  IPSECKEY: 45,
  RRSIG: 46,
  NSEC: 47,
  DNSKEY: 48,
  DHCID: 49,
  NSEC3: 50,
  NSEC3PARAM: 51,
  TLSA: 52,
  SMIMEA: 53,
  HIP: 55,
  CDS: 59,
  CDNSKEY: 60,
  OPENPGPKEY: 61,
  CSYNC: 62,
  ZONEMD: 63,
  SVCB: 64,
  HTTPS: 65,
  SPF: 99,
  EUI48: 108,
  EUI64: 109,
  TKEY: 249,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  MAILB: 253,
  MAILA: 254,
  ANY: 255,
  URI: 256,
  CAA: 257,
  TA: 32768,
  DLV: 32769,
} as const satisfies Record<string, number>

/** A type by its registered name. */
export type RrTypeName = keyof typeof RR_TYPE

const names = new Map<number, string>(Object.entries(RR_TYPE).map(([name, type]) => [type, name]))

/** `A`, `HTTPS`, …, or `TYPE65535` for a number without a name here. */
export function typeName(type: number): string {
  return names.get(type) ?? `TYPE${type}`
}

/**
 * The number of a type given as `AAAA`, `aaaa`, `TYPE28` or 28; `undefined` when it is none.
 *
 * @example
 * ```ts
 * import { typeNumber } from '@netkit/dns'
 *
 * console.assert(typeNumber('https') === 65)
 * console.assert(typeNumber('TYPE65535') === 65535)
 * console.assert(typeNumber('NOPE') === undefined)
 * ```
 */
export function typeNumber(type: string | number): number | undefined {
  if (typeof type === 'number') {
    return Number.isInteger(type) && type >= 0 && type <= 0xffff ? type : undefined
  }
  const upper = type.toUpperCase()
  if (Object.hasOwn(RR_TYPE, upper)) return RR_TYPE[upper as RrTypeName]
  const unknown = /^TYPE(\d{1,5})$/.exec(upper)
  return unknown ? typeNumber(Number(unknown[1])) : undefined
}

/** Class IN. */
export const CLASS_IN = 1
/** Class CHAOS: `version.bind` and friends. */
export const CLASS_CH = 3
