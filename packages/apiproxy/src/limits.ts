/** Every bound of the API proxy, with its reason. */

/**
 * Bytes of a client that are kept while its last request is being answered: it may already send what belongs to the protocol it
 * has asked for. More is back-pressure. Reading goes on meanwhile because only a reader learns that the client has left.
 */
export const HELD_BYTES = 64 * 1024
/** Bytes of a body that is read as a whole, because it is inspected. Docker's own requests are below 100 KiB. */
export const INSPECTED_BODY_BYTES: number = 4 * 1024 * 1024
/** Bytes of an engine's answer that is read as a whole: a list of a thousand containers has about 3 MiB. */
export const INSPECTED_RESPONSE_BYTES: number = 64 * 1024 * 1024
/** How long a connection waits for an engine that does not answer its socket, `ms`: a guest boots in half of it. */
export const DIAL_DEADLINE_MS = 30_000
/** Between two attempts to reach the engine, `ms`: below what a person notices after the engine has come up. */
export const DIAL_RETRY_MS = 100
/** Bytes that are still taken from a client after its request was refused, so that it reads the refusal and not a reset. */
export const LINGER_BYTES: number = 16 * 1024 * 1024
/** How long they are taken, `ms`. */
export const LINGER_MS = 5000
/** How long one question of our own to the engine may take, `ms`. An inspect waits for the container's lock, which a slow stop holds. */
export const CONTROL_CALL_MS = 60_000
/** Between two attempts to follow the engine's events, `ms`, doubled up to the second number. */
export const EVENTS_RETRY_MS: readonly [number, number] = [100, 5000]
/** Bytes of one event. */
export const EVENT_BYTES: number = 1024 * 1024
/** A reservation for a start that is neither answered nor lost by then is given back, `ms`: dockerd's own limit on hooks and plugins is shorter. */
export const START_RESERVATION_MS = 600_000
/** Connections of clients at a time. A `docker run` has three; descriptors are two per connection. */
export const CLIENT_CONNECTIONS = 4096
