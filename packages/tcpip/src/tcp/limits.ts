/** TCP's bounds, timeouts and defaults. Each is what Linux or an RFC has unless it says why not. */

/** RTO before there is a measurement (RFC 6298 (2.1)). */
export const INITIAL_RTO_MS = 1000
/** RFC 6298 (2.4) says 1 s and was written for the Internet of 1990; this is Linux's, and the link here is a memory bus. */
export const MIN_RTO_MS = 200
/**
 * The same on a lossless link, where silence means that the guest is busy (a stopped VM, an emulator): RFC 6298 (2.4)'s own
 * second. What its ring drops is found by duplicate ACKs.
 */
export const LOSSLESS_MIN_RTO_MS = 1000
/** Linux's TCP_RTO_MAX (RFC 6298 (2.5): at least 60 s). */
export const MAX_RTO_MS = 120_000
/** RTO for data once a SYN had to be repeated (RFC 6298 (5.7)). */
export const RTO_AFTER_SYN_LOSS_MS = 3000
/** Clock granularity G of RFC 6298: a tick of the timer wheel. */
export const CLOCK_GRANULARITY_MS = 1
/** Retransmissions of data before ETIMEDOUT: Linux's tcp_retries2. From a 200 ms RTO that is 15.4 min (RFC 9293 3.8.3: R2 ≥ 100 s). */
export const MAX_RETRANSMISSIONS = 15
/** Repetitions of a SYN: 247 s in all (RFC 9293 3.8.3: R2 of a SYN is at least 3 min). Whoever dials has a timeout of its own. */
export const MAX_SYN_RETRANSMISSIONS = 7
/** Repetitions of a SYN-ACK: Linux's tcp_synack_retries, 63 s in all. */
export const MAX_SYN_ACK_RETRANSMISSIONS = 5

/** RFC 9293 3.8.6.3: below 0.5 s. */
export const DELAYED_ACK_MS = 40
/** A sender that does not pause is acknowledged when this part of the receive window has come: three quarters are left to go on with. */
export const STRETCH_ACK_SHARE = 0.25
/** Duplicate ACKs that wait for credit: three start the peer's recovery, the rest inflates its window by what has left the network. */
export const MAX_DUPLICATE_ACKS_OWED = 64
/** Segments that are acknowledged at once when a flow starts, so that the peer's slow start is not held back (as Linux does). */
export const QUICK_ACKS = 16

/** Segments smaller than this are copied, into the link's slab and out of its read block; from here on a gathered write is cheaper. */
export const ZERO_COPY_MIN_BYTES = 8192
/** Congestion window to begin with where frames can be lost: RFC 6928. */
export const INITIAL_WINDOW_SEGMENTS = 10
/** The same where the link never drops: what a virtio ring of 256 descriptors takes at MTU 1500. */
export const LOSSLESS_INITIAL_WINDOW_BYTES = 256 * 1024

/** What timestamps take of every segment, padding included (RFC 7323 A). */
export const TIMESTAMPS_OPTION_BYTES = 12
/** Segment size assumed where the peer names none (RFC 9293 MUST-15). */
export const DEFAULT_MSS = 536
export const DEFAULT_MSS_IPV6 = 1220
/** A peer that names less is taken at this: one byte per segment would turn every write into a storm (Linux's tcp_min_snd_mss). */
export const MIN_MSS = 48

/** Receive buffer at the start, grown by autotuning. Two full segments at MTU 65520. */
export const INITIAL_RECEIVE_BUFFER_BYTES = 128 * 1024
/** Where autotuning ends; fills 1 Gbit/s at 33 ms. */
export const MAX_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
/** Shortest time over which autotuning looks: round trips in a machine are shorter than a batch. */
export const AUTOTUNE_PERIOD_MS = 10
/** Holes in the received stream that are remembered; what would open another one is dropped and comes again. */
export const MAX_OUT_OF_ORDER_RANGES = 64
/** Ranges the peer's SACKs may leave in the scoreboard. */
export const MAX_SACKED_RANGES = 256
/** What one piece of out-of-order data is charged beside its bytes: many tiny pieces are no way around the bound. */
export const PIECE_OVERHEAD_BYTES = 128
/** Block that takes received bytes on their way to their consumer, as long as few wait at a time. */
export const RECEIVE_BLOCK_BYTES = 16 * 1024
/** The same while a batch brings more: what a socket takes in one write without leaving the second-level cache. */
export const RECEIVE_RUN_BYTES = 64 * 1024
/** Writes below this are copied together, so that one byte does not hold its producer's whole block. */
export const SMALL_WRITE_BYTES = 1024

/** Twice the maximum segment lifetime: Linux's 60 s rather than RFC 9293's 4 min, on a link of one hop. */
export const TIME_WAIT_MS = 60_000
/** FIN-WAIT-2 with a silent peer: probed after Linux's tcp_fin_timeout, given up two minutes in. */
export const HALF_CLOSED_KEEPALIVE = { idleMs: 60_000, intervalMs: 10_000, probes: 6 } as const
/** Challenge ACKs per connection and second: a connection's own limit, since a global one can be measured from outside (CVE-2016-5696). */
export const CHALLENGE_ACKS_PER_SECOND = 10
/** PAWS forgets the last timestamp after this long without a segment (RFC 7323 5.5). */
export const TIMESTAMP_VALID_MS = 24 * 86_400_000

/** Keepalive, where it is asked for without numbers (RFC 9293 3.8.4: at least 2 h by default). */
export const KEEPALIVE = { idleMs: 7_200_000, intervalMs: 75_000, probes: 9 } as const
