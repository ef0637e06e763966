/** Addresses of the soak, all in namespaces of its own. */

/** The host's own address, where the world outside serves. */
export const HOST = '198.18.30.1'
/** The host's end of the tunnel. */
export const TUNNEL = '198.18.31.1'
/** What is behind the tunnel. */
export const OFFICE = '198.18.31.2'
/** The port that `place.ts` serves on. */
export const WEB_PORT = 8080
/** The proxies that `place.ts` runs, between which the host's settings switch. */
export const UPSTREAM_PORTS = [8081, 8082] as const

/** Bytes of one transfer: longer than any window, short enough for a hundred a minute. */
export const TRANSFER_BYTES = 1 << 20
