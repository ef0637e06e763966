/** Every bound and default of the package, with its unit and its reason. */

/** UDP reply without EDNS, `bytes` (RFC 1035 2.3.4). */
export const PLAIN_UDP_BYTES = 512
/** Largest UDP reply and what we advertise upstream, `bytes`: passes every path of MTU 1280 in one piece (DNS Flag Day 2020). */
export const UDP_BYTES = 1232
/** Largest message over a stream, `bytes`: its length prefix has 16 bits. */
export const STREAM_BYTES = 0xffff
/** Headers of IPv4 and UDP, `bytes`. */
export const IPV4_UDP_HEADER_BYTES = 28
/** Headers of IPv6 and UDP, `bytes`. */
export const IPV6_UDP_HEADER_BYTES = 48
/** Text of an extended error, `bytes`: it must leave room for the answer. */
export const EDE_TEXT_BYTES = 120

/** A query gets its SERVFAIL by now, `ms`: glibc, musl and c-ares wait 5 s and then ask again or give up without a reason. */
export const QUERY_DEADLINE_MS = 4500
/** Queries in flight: beyond it they are refused at once with a reason, so that a flood cannot grow the process. */
export const PENDING_QUERIES = 4096
/** Queries in flight for one client address: one guest cannot use up what others need. */
export const PENDING_QUERIES_PER_CLIENT = 1024
/** How often an answer's CNAME may lead on inside zones: longer chains are loops or mistakes. */
export const CNAME_CHASES = 8

/** A stream without a query is closed, `ms` (RFC 7766 6.2.3 asks for seconds). */
export const STREAM_IDLE_MS = 10_000
/** Streams that are open at once to one service: the oldest idle one goes first. */
export const STREAMS = 256
/** Of these, for one client: a quarter, so that one guest cannot take them all. */
export const STREAMS_PER_CLIENT = 64
/** Queries in flight on one stream; more are read once others are answered. */
export const PIPELINED_QUERIES = 128
/** Replies waiting in one stream for a slow reader, `bytes`: beyond it no more queries are read from it. */
export const STREAM_QUEUE_BYTES = 256 * 1024
/** Replies a datagram port may hold unsent, `bytes`: beyond it replies are dropped and counted, as the kernel would. */
export const DATAGRAM_QUEUE_BYTES = 1024 * 1024

/** Cache, `bytes`, its bookkeeping included. */
export const CACHE_BYTES = 16 * 1024 * 1024
/** Longest time a positive answer is kept, `s`. */
export const CACHE_POSITIVE_S = 3600
/** Longest time a negative answer is kept, `s`: a name just created appears within a minute. */
export const CACHE_NEGATIVE_S = 60
/** Time a failure is kept, `s` (RFC 9520 3.2 asks for 1 s at least). */
export const CACHE_FAILURE_S = 2
/** How long past its TTL an answer may stand in for an upstream that fails, `s` (RFC 8767 5). */
export const CACHE_STALE_S = 3600
/** TTL in a stale answer, `s` (RFC 8767 5). */
export const STALE_TTL_S = 30
/** How long a client waits for a fresh answer before it gets the stale one, `ms` (RFC 8767 5). */
export const STALE_WAIT_MS = 1800
/** An answer that is asked for in the last tenth of its life is fetched again ahead of its end. */
export const PREFETCH_SHARE = 0.1
/** Answers that live shorter than this are not prefetched, `s`: the traffic would outweigh the wait. */
export const PREFETCH_MIN_TTL_S = 10

/** TTL of records from zones and hosts files, `s`: local names change when containers do. */
export const LOCAL_TTL_S = 5

/** First retransmission to an upstream, `ms`: some VPN filters drop the first datagram of a socket. Doubles each time. */
export const UPSTREAM_RETRANSMIT_MS = 400
/** One upstream has this long, `ms`. */
export const UPSTREAM_TRY_MS = 2000
/** All upstreams together have this long, `ms`: the client's SERVFAIL must still be in time. */
export const UPSTREAM_TOTAL_MS = 4200
/** Sockets to one upstream: enough for ports to be unguessable and one dead mapping not to matter. */
export const UPSTREAM_SOCKETS = 8
/** Queries one socket carries before it is replaced, so that a guessed port does not stay useful. */
export const UPSTREAM_SOCKET_QUERIES = 500
/** Age at which a socket is replaced, `ms`. */
export const UPSTREAM_SOCKET_MS = 30_000
/** Queries in flight to one upstream; beyond it they fail at once. */
export const UPSTREAM_PENDING = 4096
/** An upstream stream without queries is closed, `ms`. */
export const UPSTREAM_STREAM_IDLE_MS = 15_000
/** The second upstream of a group is asked too after this long, `ms`, in `hedged` mode. */
export const UPSTREAM_HEDGE_MS = 300
/** Failures in a row after which an upstream is asked last. */
export const UPSTREAM_FAILURES = 3
/** A failing upstream is tried again after this long, `ms`. */
export const UPSTREAM_RETRY_MS = 5000

/** Longest reply of a varlink service, `bytes`: base64 of the largest message, with its decoded form beside it. */
export const VARLINK_REPLY_BYTES = 4 * 1024 * 1024
/** A subscription to systemd-resolved is tried again after this long, `ms`, then twice as long, … */
export const MONITOR_RETRY_MS = 1000
/** … up to this long, `ms`. */
export const MONITOR_RETRY_MAX_MS = 60_000
/** Entries of a hosts file that are taken, the rest is counted: block lists of this size exist, larger ones belong in a resolver. */
export const HOSTS_ENTRIES = 200_000
/** Queries the log ring remembers. */
export const LOG_ENTRIES = 512
/** Names that have a synthetic address at once. */
export const SYNTHETIC_NAMES = 8192
