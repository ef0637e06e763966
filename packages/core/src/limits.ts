/** Bounds and defaults of this package, each with its unit and its reason. */

/**
 * Bytes that one direction of a splice lets its sink queue before it stops reading. 1 MiB covers the product of bandwidth and
 * round trip of a 1 Gbit/s path at 8 ms, and is what keeps Node from a readStop/readStart pair per chunk
 * (its own high-water mark is 64 KiB).
 */
export const SPLICE_QUEUE_LIMIT_BYTES: number = 1024 * 1024

/**
 * Bytes that a direction may always have queued, also when the shared budget is spent: a flow that waits only for itself
 * cannot be stalled by another, slower one.
 */
export const SPLICE_FLOOR_BYTES: number = 16 * 1024

/**
 * Sizes of read blocks in `bytes`. The first serves requests and keystrokes; the last is where one more doubling stopped to pay
 * on loopback TCP (a 1 MiB buffer was slower: it leaves the second-level cache).
 */
export const READ_BLOCK_BYTES: readonly [number, number, number] = [
  16 * 1024,
  64 * 1024,
  256 * 1024,
]

/** Idle read blocks kept per size: 1 MiB + 1 MiB + 4 MiB at most. */
export const READ_BLOCKS_KEPT: readonly [number, number, number] = [64, 16, 16]

/** A block's remainder below this is not offered to a read: the system call would cost more than the memory. */
export const MIN_READ_ROOM_BYTES = 2048

/** `readAll` refuses more than this unless told otherwise: it is for messages, not for files. */
export const READ_ALL_LIMIT_BYTES: number = 64 * 1024 * 1024

/** `writeAll` waits while more than this is queued. */
export const WRITE_ALL_QUEUE_BYTES: number = 256 * 1024

/** Largest UDP payload over IPv4: 65,535 - 20 (IP) - 8 (UDP). */
export const MAX_DATAGRAM_BYTES = 65_507

/** Bytes in flight between two ports of a memory network before datagrams are dropped; Linux' default receive buffer. */
export const MEMORY_DATAGRAM_QUEUE_BYTES: number = 208 * 1024

/** Deliveries of a memory stream in microtasks before it lets I/O and timers have a turn. */
export const MEMORY_DELIVERIES_PER_TURN = 1024

/** RFC 8305 section 8: Connection Attempt Delay. */
export const CONNECTION_ATTEMPT_DELAY_MS = 250

/** RFC 8305 section 8: Resolution Delay. */
export const RESOLUTION_DELAY_MS = 50

/** Addresses of one family that are tried; a name with a thousand addresses must not cost a thousand connections. */
export const DIAL_ADDRESSES = 8

/** Destinations whose verdict an unconnected datagram port remembers; a scan must not grow the process. */
export const VERDICTS_PER_PORT = 1024

/** Datagrams to one destination that wait for a policy which answers later. */
export const DATAGRAMS_AWAITING_VERDICT = 16

/** Rules whose counters are kept apart; a policy that makes up names is counted under `other` beyond that. */
export const COUNTED_RULES = 256

/** Addresses remembered per guest; a page load takes tens, and a name memory entry a few hundred bytes. */
export const REMEMBERED_ADDRESSES = 4096

/** Names remembered per address: many sites share one address of a content network. */
export const REMEMBERED_NAMES_PER_ADDRESS = 32

/**
 * A name is remembered for its TTL and at least this long: programs connect some time after they asked, and many answers have a
 * TTL of a few seconds.
 */
export const NAME_MEMORY_MIN_MS = 60_000

/** And not longer than this, whatever the TTL. */
export const NAME_MEMORY_MAX_MS: number = 24 * 3600 * 1000

/** Bytes of one HTTP head; Go's own limit is 1 MiB, and browsers' cookies and registry credentials need a few KiB. */
export const HEAD_BYTES: number = 64 * 1024

/** Header fields of one HTTP head. */
export const HEAD_FIELDS = 1000

/** Empty lines tolerated before a request line (RFC 9112 2.2 asks for at least one). */
export const LEADING_EMPTY_LINES = 4

/** Bytes of a chunk's extension: hardly any client sends one. */
export const CHUNK_LINE_BYTES = 256

/** Bytes of a chunked body's trailer section. */
export const TRAILER_BYTES: number = 16 * 1024

/** What a shaped stream may send at once, in `ms` of its rate: timers are no finer. */
export const SHAPED_BURST_MS = 10
/** Bytes that a shaped stream holds before it stops reading: 80 ms at 100 Mbit/s. */
export const SHAPED_LANE_BYTES = 1_048_576
/** Bytes a shaped stream reads at a time. */
export const SHAPED_READ_BYTES = 16_384
