/**
 * Every bound, timeout and default of the engine around TCP, with its unit in the name and its reason beside it.
 * TCP's own are in `tcp/`. A hostile guest reaches one of these, and then harms only itself: each is per guest unless it says otherwise.
 */

// --- Link and switch ---

/** Smallest MTU that IPv6 allows (RFC 8200 5). */
export const MIN_MTU_BYTES = 1280
/** Frames handled before the engine lets other I/O have its turn: about 2 ms of work. */
export const FRAMES_PER_TURN = 2048
/** MAC addresses one guest may use: a bridge of containers inside it, not a flood. */
export const MACS_PER_GUEST = 64
/** A MAC address that was silent this long may move to another port (IEEE 802.1D 7.9.2 default). */
export const MAC_AGE_MS = 300_000
/** IP addresses one guest may use. */
export const NEIGHBORS_PER_GUEST = 64
/** Address conflicts told per second: a hostile guest makes as many as it likes. */
export const CONFLICTS_PER_SECOND = 10
/** Bytes of other guests' frames that one guest is passed per turn: its own flows must find credit as well. */
export const BRIDGED_BYTES_PER_TURN = 262_144
/** An address that was silent this long may be taken over by another guest (Linux keeps a neighbor up to 60 s unconfirmed). */
export const NEIGHBOR_AGE_MS = 60_000

// --- Address resolution ---

/** Between two ARP requests or neighbor solicitations for one address (RFC 4861 10, RETRANS_TIMER). */
export const RESOLVE_RETRY_MS = 1_000
/** Requests before the address counts as unreachable (RFC 4861 10, MAX_MULTICAST_SOLICIT). */
export const RESOLVE_TRIES = 3
/** Addresses being resolved at once per engine: a scan from the host side must not fill the table. */
export const RESOLVE_PENDING = 256
/** Datagrams of an engine that wait for an address (RFC 1122 2.3.2.2 asks for at least one). */
export const RESOLVE_QUEUE = 64

// --- Router advertisements ---

/** Room for the longest neighbor discovery message that we send: what the smallest MTU leaves behind an IPv6 header. */
export const NDP_MESSAGE_MAX_BYTES = 1_240
/** Between two advertisements to all (RFC 4861 6.2.1: MaxRtrAdvInterval's default is 600 s). */
export const RA_INTERVAL_MS = 300_000
/** How long we are a default router without another advertisement, `s` (RFC 4861 6.2.1: three intervals). */
export const RA_LIFETIME_S = 1_800
/** How long an address from our prefix is valid, and is used for new connections, `s`. */
export const RA_VALID_LIFETIME_S = 86_400
export const RA_PREFERRED_LIFETIME_S = 14_400

// --- DHCP ---

/** Lease time. A laptop sleeps overnight and wakes with the same address. */
export const LEASE_MS = 86_400_000
/** How long an offered address waits for its REQUEST. */
export const OFFER_MS = 60_000
/** How long an address that somebody else answered for (DECLINE) is left alone. */
export const DECLINED_MS = 600_000
/** Room for the longest answer: the fixed part and the options of a long search list. */
export const DHCP_MESSAGE_MAX_BYTES = 4_096
/** Addresses one guest may lease: it may carry a few interfaces or nested machines, but not the pool. */
export const LEASES_PER_GUEST = 16

/** How long what stateless DHCPv6 handed out holds before it is asked for again, `s` (RFC 8415 21.23: 86,400 is the default). */
export const INFORMATION_REFRESH_S = 86_400
/** Resolvers in a router advertisement; systems use three at most. */
export const RA_RESOLVERS = 8
/** Bytes of search domains in a router advertisement, so that it fits the smallest MTU with all the rest; DHCPv6 has them all. */
export const RA_SEARCH_DOMAINS_BYTES = 768

// --- ICMP ---

/** ICMP errors per second to one guest (RFC 1812 4.3.2.8 asks for a limit; Linux sends 1000 in all). */
export const ICMP_ERRORS_PER_SECOND = 200
/** Bytes of the offending packet quoted in an ICMP error (RFC 1812 4.3.2.3: not beyond 576 in all). */
export const ICMP_QUOTE_BYTES = 548

/** Pings of the world that one guest may have under way: each may be a process of the host for ten seconds. */
export const ECHOES_PENDING_PER_GUEST = 32
/** The same per second: five pings at `ping -i 0.2`, not a flood. */
export const ECHOES_PER_SECOND = 25

// --- Fragments ---

/** How long fragments wait for the rest (RFC 8200 4.5 has 60 s; Linux 30 s; a virtual link needs less). */
export const REASSEMBLY_MS = 15_000
/** Datagrams in reassembly. */
export const REASSEMBLY_DATAGRAMS = 64
/** Pieces of one datagram: 65,535 bytes in pieces of 576 are 119. */
export const REASSEMBLY_FRAGMENTS = 128
/** Bytes held in reassembly. */
export const REASSEMBLY_BYTES = 1_048_576

// --- TCP flows ---

/** Host connects and half-open handshakes at once. Tailscale's forwarder takes 2048 here; a browser never passes a few hundred. */
export const HALF_OPEN_PER_GUEST = 2_048
/** Of these, to one destination (address and port): a black-holed one must not take them all. */
export const HALF_OPEN_PER_DESTINATION = 256
/** Flows of one guest. Each is a file descriptor of the process. */
export const FLOWS_PER_GUEST = 16_384
/** Bytes that all TCP connections of one guest may hold: unread, out of order, not acknowledged. */
export const TCP_BYTES_PER_GUEST = 268_435_456
/** Our own connect timeout, well under the host's two minutes, so that a dead destination costs a bounded time. */
export const CONNECT_TIMEOUT_MS = 30_000
/** Connections a listener holds in the handshake. */
export const LISTEN_BACKLOG = 511
/** Ended flows that `snapshot()` still shows. */
export const RECENT_FLOWS = 256

/** After a guest's DHCP client began anew, its silent connections are asked whether they are still known there. */
export const RESTART_PROBES_MS = [1_000, 3_000, 7_000] as const
/** And given up. A guest that boots configures its address within seconds of its lease. */
export const RESTART_GIVE_UP_MS = 15_000

// --- UDP ---

/** A mapping without traffic either way ends (RFC 4787 REQ-5: not under two minutes). */
export const UDP_IDLE_MS = 120_000
/** The same towards port 53: one question, one answer. */
export const UDP_DNS_IDLE_MS = 10_000
/** How often idle mappings are looked for. */
export const UDP_SWEEP_MS = 2_000
/** Mappings; the least recently used makes room. */
export const UDP_MAPPINGS_PER_GUEST = 4_096
/** Datagrams that wait while a mapping's host socket is being bound. */
export const UDP_BINDING_QUEUE = 64
/** Bytes handed to one host socket and not yet sent: beyond it datagrams are dropped, as a NIC would. */
export const UDP_QUEUED_BYTES = 4_194_304
/** Remote addresses one mapping remembers for address-dependent filtering. */
export const UDP_FILTER_ENTRIES = 1_024
/** Largest UDP payload over IPv4: 65,535 less the IP and UDP headers. */
export const UDP_PAYLOAD_MAX_BYTES = 65_507

// --- Ports ---

/** Ephemeral ports (RFC 6335 6). */
export const EPHEMERAL_FIRST = 49_152
export const EPHEMERAL_LAST = 65_535
