/** The DNS header (RFC 1035 4.1.1): field offsets, flag bits, response codes. */

/** Bytes of a header. */
export const HEADER_LENGTH = 12

/** Offsets of the 16-bit fields. */
export const HEADER = {
  id: 0,
  flags: 2,
  questions: 4,
  answers: 6,
  authorities: 8,
  additionals: 10,
} as const

/** Bits of the flags field. */
export const FLAG = {
  /** Response. */
  QR: 0x8000,
  /** Authoritative answer. */
  AA: 0x0400,
  /** Truncated. */
  TC: 0x0200,
  /** Recursion desired. */
  RD: 0x0100,
  /** Recursion available. */
  RA: 0x0080,
  /** Authentic data (RFC 4035 3.1.6). */
  AD: 0x0020,
  /** Checking disabled (RFC 4035 3.1.6). */
  CD: 0x0010,
} as const

/** The opcode in a flags field. */
export const opcodeOf = (flags: number): number => (flags >>> 11) & 0xf

/** Response codes (IANA "DNS RCODEs"); those above 15 need EDNS. */
export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const

const rcodeNames = new Map<number, string>(
  Object.entries(RCODE).map(([name, code]) => [code, name]),
)

/** `NXDOMAIN`, …, or `RCODE9`. */
export function rcodeName(rcode: number): string {
  return rcodeNames.get(rcode) ?? `RCODE${rcode}`
}

/** Extended DNS errors (RFC 8914 4) that netkit sends. */
export const EDE = {
  OTHER: 0,
  STALE_ANSWER: 3,
  CACHED_ERROR: 13,
  NOT_READY: 14,
  BLOCKED: 15,
  CENSORED: 16,
  FILTERED: 17,
  PROHIBITED: 18,
  STALE_NXDOMAIN: 19,
  NOT_SUPPORTED: 21,
  NO_REACHABLE_AUTHORITY: 22,
  NETWORK_ERROR: 23,
  INVALID_DATA: 24,
} as const

/** An extended DNS error: a code and a text for a person. */
export interface ExtendedError {
  /** RFC 8914's INFO-CODE. */
  readonly code: number
  /** EXTRA-TEXT; may be empty. */
  readonly text: string
}
