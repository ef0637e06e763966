/**
 * What lies in the RDATA of each type, as far as a forwarder must know: where names are (they may be compressed and so must
 * be rewritten when a record moves), and what lengths are possible.
 *
 * A layout is a string of fields: a digit is that many bytes; `q` 16 bytes; `n` a name; `s` a string with a length byte;
 * `S` strings to the end; `b` NSEC's type bitmap to the end; `p` SvcParams to the end (RFC 9460 2.2); `o` EDNS options to the end;
 * `x` anything to the end.
 */

import { RR_TYPE } from './rr-type.ts'

const SIGNATURE = '2114442nx'

const byType: Partial<Record<number, string>> = {
  [RR_TYPE.A]: '4',
  [RR_TYPE.NS]: 'n',
  [RR_TYPE.MD]: 'n',
  [RR_TYPE.MF]: 'n',
  [RR_TYPE.CNAME]: 'n',
  [RR_TYPE.SOA]: 'nn44444',
  [RR_TYPE.MB]: 'n',
  [RR_TYPE.MG]: 'n',
  [RR_TYPE.MR]: 'n',
  [RR_TYPE.WKS]: '41x',
  [RR_TYPE.PTR]: 'n',
  [RR_TYPE.HINFO]: 'ss',
  [RR_TYPE.MINFO]: 'nn',
  [RR_TYPE.MX]: '2n',
  [RR_TYPE.TXT]: 'S',
  [RR_TYPE.RP]: 'nn',
  [RR_TYPE.AFSDB]: '2n',
  [RR_TYPE.X25]: 's',
  [RR_TYPE.ISDN]: 'S',
  [RR_TYPE.RT]: '2n',
  [RR_TYPE.SIG]: SIGNATURE,
  [RR_TYPE.KEY]: '211x',
  [RR_TYPE.PX]: '2nn',
  [RR_TYPE.AAAA]: 'q',
  [RR_TYPE.SRV]: '222n',
  [RR_TYPE.NAPTR]: '22sssn',
  [RR_TYPE.KX]: '2n',
  [RR_TYPE.CERT]: '221x',
  [RR_TYPE.DNAME]: 'n',
  [RR_TYPE.OPT]: 'o',
  [RR_TYPE.DS]: '211x',
  [RR_TYPE.SSHFP]: '11x',
  [RR_TYPE.RRSIG]: SIGNATURE,
  [RR_TYPE.NSEC]: 'nb',
  [RR_TYPE.DNSKEY]: '211x',
  [RR_TYPE.NSEC3]: '112ssb',
  [RR_TYPE.NSEC3PARAM]: '112s',
  [RR_TYPE.TLSA]: '111x',
  [RR_TYPE.SMIMEA]: '111x',
  [RR_TYPE.CDS]: '211x',
  [RR_TYPE.CDNSKEY]: '211x',
  [RR_TYPE.SVCB]: '2np',
  [RR_TYPE.HTTPS]: '2np',
  [RR_TYPE.SPF]: 'S',
  [RR_TYPE.EUI48]: '6',
  [RR_TYPE.EUI64]: '8',
  [RR_TYPE.URI]: '22x',
  [RR_TYPE.CAA]: '1sx',
  [RR_TYPE.DLV]: '211x',
}

// Types below this come with almost every message and are looked up by index.
const DENSE = 320
const dense: readonly string[] = Array.from({ length: DENSE }, (_, type) => byType[type] ?? 'x')

/** The layout of a type's RDATA; `x` where it is opaque. */
export function rdataLayout(type: number): string {
  return type < DENSE ? (dense[type] ?? 'x') : (byType[type] ?? 'x')
}

/**
 * Whether the name fields of a type may be compressed when they are written: RFC 1035's own types only (RFC 3597 4).
 * Readers accept compression in all of them.
 */
export function mayCompressRdata(type: number): boolean {
  return type <= RR_TYPE.MX && type !== RR_TYPE.NULL && type !== RR_TYPE.WKS
}
