/** Where a connect can fail, and how a program on the host and one in the guest see it. */

/** `errno` per family. */
type Errno = Readonly<Record<'ipv4' | 'ipv6', string>>

/** One way to fail. */
export interface Fate {
  /** What stands in the way. */
  readonly why: string
  /** A destination of each family. */
  readonly to: Readonly<Record<'ipv4' | 'ipv6', string>>
  /** What a native program on the host sees. */
  readonly native: Errno
  /** What the guest sees where it is another: what no ICMP message says, Linux takes the nearest one for. */
  readonly guest?: Errno
}

/** The host's end of its only cable, and the router at the other. */
export const HOST = { ipv4: '198.18.30.1', ipv6: 'fd00:30::1' } as const
export const ROUTER = { ipv4: '198.18.30.2', ipv6: 'fd00:30::2' } as const

const at = (network: number, host: number): Fate['to'] => ({
  ipv4: `198.18.${network}.${host}`,
  ipv6: `fd00:${network}::${host}`,
})

const both = (errno: string): Errno => ({ ipv4: errno, ipv6: errno })

export const FATES: readonly Fate[] = [
  { why: 'nobody listens there', to: ROUTER, native: both('ECONNREFUSED') },
  { why: 'the host has no route', to: at(40, 1), native: both('ENETUNREACH') },
  { why: 'a route of the host says unreachable', to: at(31, 1), native: both('EHOSTUNREACH') },
  {
    why: 'a route of the host says prohibited',
    to: at(31, 2),
    native: both('EACCES'),
    // ICMPv6 has a word for it.
    guest: { ipv4: 'EHOSTUNREACH', ipv6: 'EACCES' },
  },
  {
    why: 'a route of the host is a black hole',
    to: at(31, 3),
    native: both('EINVAL'),
    guest: both('EHOSTUNREACH'),
  },
  { why: 'nobody on the cable has the address', to: at(30, 99), native: both('EHOSTUNREACH') },
  {
    why: 'the router says unreachable',
    to: at(32, 1),
    // An IPv6 router's route of this kind is "no route", in the terms of ICMPv6.
    native: { ipv4: 'EHOSTUNREACH', ipv6: 'ENETUNREACH' },
  },
  {
    why: 'the router says prohibited',
    to: at(32, 2),
    native: { ipv4: 'EHOSTUNREACH', ipv6: 'EACCES' },
  },
  { why: 'the router has no route', to: at(33, 1), native: both('ENETUNREACH') },
  {
    why: 'silence',
    to: at(32, 3),
    native: both('ETIMEDOUT'),
    // The host's kernel has waited long enough for both: an ICMP error ends it, rather than as long a wait again.
    guest: both('EHOSTUNREACH'),
  },
]

/** What happened to each, in the order of `FATES`. */
export type ErrorReport = readonly {
  readonly family: 'ipv4' | 'ipv6'
  readonly why: string
  readonly native: string
  readonly guest: string
}[]
