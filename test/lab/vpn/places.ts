/** Addresses of the VPN lab, all in 198.18.0.0/15. */

/** The network the host is at: its DNS server and a web server. */
export const HOME = '198.18.8.1'
/** The host's address in it. */
export const HOST = '198.18.8.2'
/** The host's end of the tunnel. */
export const TUNNEL = '198.18.7.1'
/** What is behind the tunnel. */
export const OFFICE = '198.18.7.2'

/** A place's registry, the same over a slow line of so many bytes a second, and its two proxies. */
export const REGISTRY_PORT = 5000
export const SLOW_REGISTRY_PORT = 5001
export const SLOW_REGISTRY_BYTES: number = 2 * 1024 * 1024
export const PROXY_PORTS = [8881, 8882] as const

/** The long flow: so many lines, one each so many `ms`. */
export const SLOW_LINES = 150
export const SLOW_MS = 100

/** What the host's side of the lab found out. */
export interface VpnReport {
  /** `net.ipv4.ip_forward` of the host namespace: nothing a guest sends as its own can leave. */
  readonly forwarding: string
  readonly before: { readonly office: string; readonly home: string; readonly page: string }
  readonly up: {
    /** From the change of resolv.conf until the guest saw it, `ms`. */
    readonly seenAfterMs: number
    readonly page: string
    readonly glibc: string
    readonly busybox: string
    /** Status and answers of each query, as the host got them and as the guest did. */
    readonly answers: Readonly<Record<string, { readonly host: string; readonly guest: string }>>
  }
  readonly down: {
    readonly host: string
    readonly guest: string
    readonly home: string
    /** What came over the connection that was open all the while. */
    readonly longFlow: string
  }
}

/** What the host's side of the lab found out about the engine in its guest. */
export interface VpnEngineReport {
  /** `docker pull` from behind the tunnel: before it is up, with it (after a push through it), and after it has gone. */
  readonly pulls: {
    readonly before: string
    readonly push: string
    readonly up: string
    readonly down: string
  }
  /** What two containers that download were told, one through the tunnel and one not, when the tunnel went. */
  readonly flows: { readonly office: string; readonly home: string }
  /** A build and a slow pull over which the host's proxy was switched; requests that each of the two proxies saw. */
  readonly switched: {
    readonly build: string
    readonly pull: string
    readonly seen: readonly (readonly [before: number, after: number])[]
  }
  /** The engine's process, and a container that ran all the while: before and after. */
  readonly engine: readonly [before: string, after: string]
  readonly container: readonly [before: string, after: string]
}
