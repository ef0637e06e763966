/** Bounds of a test network. */

/** Turns of the event loop without any network activity after which a moment is taken to be over: an application may go through a few `setImmediate`s between two writes. */
export const QUIET_TURNS = 4
/** Turns of the event loop that one moment may take: an application that is still busy then is in a loop of its own, and time goes on. */
export const MAX_TURNS_PER_MOMENT = 100_000
/** Memory for the newest packets, `bytes`. */
export const CAPTURE_BYTES = 16 * 1024 * 1024
/** Packets a tap keeps. */
export const TAP_PACKETS = 100_000
/** Bytes that may wait at one end of a cable inside the process. */
export const CABLE_QUEUE_BYTES = 4 * 1024 * 1024
/** What a virtual socket takes from its stream at once, `bytes`. */
export const SOCKET_READ_BYTES = 64 * 1024
/** Bytes that may be written to a virtual socket and not be acknowledged before it says no: what a kernel's send buffer takes. */
export const SOCKET_QUEUE_BYTES = 256 * 1024
/** Repetitions of a SYN: Linux's tcp_syn_retries, 127 s in all. */
export const SYN_RETRANSMISSIONS = 6
/** The first port that a NAT hands out by itself: those below are for servers. */
export const FIRST_NAT_PORT = 1024
/** Ports that a NAT tries before it has none left. */
export const NAT_PORT_TRIES = 200
