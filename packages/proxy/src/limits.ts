/** Every bound and default of the package, with its unit and its reason. */

/** A client that sends no request head is closed, `ms`: as long as browsers keep idle connections to a proxy. */
export const CLIENT_IDLE_MS = 120_000
/** Time to the end of one request head once it has begun, `ms`: slow senders must not hold connections. */
export const HEAD_DEADLINE_MS = 30_000
/** Time to open one hop, handshakes with proxies included, `ms`: below curl's and git's own 60 s, so that they get a reason. */
export const CONNECT_DEADLINE_MS = 30_000
/** Time to the first byte of an answer to a request, `ms`; longer than any gateway in front of an origin waits. */
export const RESPONSE_DEADLINE_MS = 300_000
/** Idle connections to origins are kept this long, `ms`: below the 5 s that Node's own servers keep them. */
export const UPSTREAM_IDLE_MS = 4000
/** Idle connections kept per origin, hop and guest: as many as a build that fetches packages side by side has in use. */
export const UPSTREAM_IDLE_PER_ORIGIN = 64
/** Idle connections kept in all; beyond it the oldest is closed. */
export const UPSTREAM_IDLE = 512
/** Connections of clients at a time over all listeners. A tunnel needs two descriptors. */
export const CLIENT_CONNECTIONS = 8192
/** Bytes queued towards a slow reader of a body before its sender is no longer read. */
export const BODY_QUEUE_BYTES: number = 256 * 1024
/** Bytes of a ClientHello: post-quantum key shares make 2 KiB, and TLS allows a handshake message of 64 KiB in practice. */
export const CLIENT_HELLO_BYTES: number = 64 * 1024
/** Time in which a TLS client says hello, `ms`; a server-first protocol goes on after it. */
export const PEEK_DEADLINE_MS = 3000
/** Rounds of challenge and answer with one upstream proxy: NTLM takes two; a proxy that asks for ever is given up. */
export const AUTHENTICATION_ROUNDS = 3
/** Bytes of the page of a 407 that are read away, so that its connection can go on; behind a longer one a new one is opened. */
export const REFUSAL_BYTES: number = 64 * 1024
/** Bytes that are still taken from a client after a refusal, so that it reads the refusal and not a reset. */
export const LINGER_BYTES: number = 4 * 1024 * 1024
/** How long they are taken, `ms`. */
export const LINGER_MS = 2000
/** A hop that failed is tried last for this long, `ms` (browsers: 30 s, then up to 5 min). */
export const FAILED_HOP_MS = 30_000
/** Failed hops that are remembered. */
export const FAILED_HOPS = 256
/** Time one evaluation of a PAC script has, lookups included, `ms`; a script that needs more is ended with its thread. */
export const PAC_DEADLINE_MS = 1000
/** Time to start the thread and to compile a script, `ms`: 60 ms on a quiet machine. */
export const PAC_LOAD_MS = 10_000
/** Time to fetch a PAC script, `ms`; connections wait for it at the first time only. */
export const PAC_FETCH_MS = 5000
/** A PAC script is fetched again when it is this old, `ms`; meanwhile the old one answers. */
export const PAC_REFRESH_MS: number = 15 * 60_000
/** A PAC script that could not be had is tried again after this long, `ms`: not at every connection. */
export const PAC_RETRY_MS = 10_000
/** Evaluations in a row that ended at the deadline, after which the script is set aside for `PAC_RETRY_MS`. */
export const PAC_TIMEOUTS = 3
/** An answer holds this long for its scheme, host and port, `ms`, as in browsers. */
export const PAC_MEMO_MS: number = 5 * 60_000
/** Answers that are remembered. */
export const PAC_MEMO_ENTRIES = 4096
/** Evaluations that wait for the thread; beyond it they fail at once. */
export const PAC_QUEUE = 1024
/** Bytes of a PAC script: the longest that browsers take. */
export const PAC_SCRIPT_BYTES: number = 1024 * 1024
/** Memory that a script may use, `bytes`. */
export const PAC_MEMORY_BYTES: number = 64 * 1024 * 1024
/** Stack that a script may use, `bytes`: well below what the machine has, so that endless recursion is an error of the script. */
export const PAC_STACK_BYTES: number = 128 * 1024
