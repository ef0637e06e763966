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
