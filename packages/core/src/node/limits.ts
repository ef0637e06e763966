/** Bounds and defaults of the host's network, each with its unit and its reason. */

/** Memory that all sockets of the process read into until they prove to be busy; larger reads gain less than they cost in cache. */
export const SCRATCH_BYTES: number = 64 * 1024

/**
 * Sockets that may read straight into their consumer's memory at one time. Each holds a block of up to 256 KiB while it waits;
 * the others read through the scratch buffer, which costs one copy (0.02 CPU s/GB).
 */
export const DIRECT_READERS = 32

/** Bytes after which pending writes are handed to the kernel at once rather than at the end of the turn. */
export const WRITE_BATCH_BYTES: number = 64 * 1024

/** TCP keepalive: idle time before the first probe. Connection tables of home routers forget a flow after 5 minutes or more. */
export const KEEP_ALIVE_MS = 60_000

/**
 * Age at which a connection gets keepalive, `ms`. It is four system calls and does nothing before `KEEP_ALIVE_MS` of silence; most
 * connections end long before.
 */
export const KEEP_ALIVE_AGE_MS = 10_000

/** Connections the kernel queues for a listener; Node's default. */
export const LISTEN_BACKLOG = 511

/** Bytes a datagram port queues when the kernel does not take them; then datagrams are dropped with `ENOBUFS`. */
export const DATAGRAM_QUEUE_BYTES: number = 1024 * 1024

/** Bytes of datagrams that the kernel keeps for a port until they are read: 100 ms at 10 000 a second of 1400 bytes. */
export const DATAGRAM_RECEIVE_BUFFER_BYTES: number = 2 * 1024 * 1024

/**
 * Longest path of a unix socket in `bytes`: `sun_path` less its closing zero. 108 on Linux, 104 on macOS and the BSDs; longer ones
 * would be cut off silently.
 */
export const SOCKET_PATH_BYTES: number = process.platform === 'linux' ? 107 : 103

/** Access mode of a unix socket's file: other users of the host are not trusted. */
export const SOCKET_FILE_MODE = 0o600

/** How often `hostEvents` looks at clocks and interfaces. */
export const HOST_POLL_MS = 5000

/** `wall()` may run ahead of `now()` by this much before it counts as sleep: clock slewing and a busy process stay below. */
export const WAKE_THRESHOLD_MS = 10_000

/** Bytes that `asNetSocket` lets the stream below queue before a write is held back. */
export const NET_SOCKET_QUEUE_BYTES: number = 256 * 1024

/** Bytes that `asNetSocket` reads at a time: the high-water mark of Node's own sockets. */
export const NET_SOCKET_READ_BYTES: number = 64 * 1024

/** Output of a command beyond this is no answer to any question we ask, `bytes`. */
export const COMMAND_OUTPUT_BYTES: number = 4 * 1024 * 1024

/** Changes of the host's configuration are taken together for this long, `ms`: tools rewrite files in several steps. */
export const WATCH_DEBOUNCE_MS = 100

/** Where the OS sends no events, its configuration is read this often, `ms`. */
export const WATCH_POLL_MS = 5000

/** A kept program that ended is started again after this long, `ms`, and after twice as long each time; */
export const FIRST_RESTART_MS = 1000

/** up to this, `ms`; a program that lived for that long starts over. */
export const LAST_RESTART_MS = 60_000

/** How long `ping` waits for an answer, `s`: as long as the programs that guests run wait by default. */
export const PING_WAIT_S = 10
