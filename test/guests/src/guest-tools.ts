/**
 * What a test or the tour asks of a guest, in words that say nothing about the guest's kind. A Linux guest answers with busybox
 * and bash, the scripted one with its own small stack; what is asked, and what counts as right, is written once.
 */

/** Where a service is, as the guest names it: an address or a name. */
export interface Service {
  readonly host: string
  readonly port: number
}

/** What the guest's DHCP client was told. */
export interface Lease {
  readonly ip: string
  /** Prefix length. */
  readonly prefix: number
  readonly router: string
  readonly dns: readonly string[]
  /** Option 54. */
  readonly serverId: string
  /** Option 51. */
  readonly seconds: number
  /** Option 26, where it was sent. */
  readonly mtu?: number
  /** Options 119 and 15. */
  readonly search: readonly string[]
}

/** What the guest's kernel made of router advertisements. */
export interface Ipv6Configuration {
  /** Its addresses beyond the link, ready to use. */
  readonly addresses: readonly string[]
  /** The link-local address of its default router. */
  readonly router: string
}

/** Echo requests sent and answered. */
export interface PingResult {
  readonly sent: number
  readonly received: number
}

/** Bytes that were moved, and what they were. */
export interface Transfer {
  readonly bytes: number
  /** Hexadecimal. */
  readonly sha256: string
}

/** How a connection attempt, or a connection, ended for a program in the guest. */
export type ConnectionEnd =
  /** Connected; or the peer's end of file, in order. */
  | 'ok'
  /** ECONNREFUSED */
  | 'refused'
  /** ECONNRESET */
  | 'reset'
  /** EHOSTUNREACH, ENETUNREACH */
  | 'unreachable'
  | 'timeout'

/** A service in the guest that a test started. */
export interface GuestService extends AsyncDisposable {
  readonly port: number
}

/** The guest's own network programs. Each rejects when the guest could not even try. */
export interface GuestTools {
  /** Brings the NIC up and takes a lease. */
  lease(): Promise<Lease>
  /** Waits for IPv6 addresses from router advertisements. Not for the scripted guest, which speaks IPv4 alone. */
  slaac?(): Promise<Ipv6Configuration>
  /** The MAC address the guest's neighbour table has for `ip`, after it tried to reach it. */
  neighbour(ip: string): Promise<string | undefined>
  ping(ip: string, count: number): Promise<PingResult>
  /** IPv4 addresses of `name` from the resolver the lease named; none when it does not exist. */
  resolve(name: string): Promise<readonly string[]>
  /** `GET path`; the body as text. */
  httpGet(from: Service, path: string): Promise<{ readonly status: number; readonly body: string }>
  /** `GET path`, hashed. */
  download(from: Service, path: string): Promise<Transfer>
  /**
   * Reads a plain connection to its end, slower than it comes: nothing for a second, then in pieces of 1 MiB with pauses. The
   * window must close and open again.
   */
  readSlowly(from: Service): Promise<Transfer>
  /**
   * Writes `bytes` bytes to a connection, ends its own direction, and reads the answer: half-close by the guest.
   * `sent` is what was sent, `answer` what came back after.
   */
  upload(to: Service, bytes: number): Promise<{ readonly sent: Transfer; readonly answer: string }>
  /** Reads to the peer's end, then writes `text` and ends: half-close by the host. */
  answerAfterEnd(to: Service, text: string): Promise<{ readonly received: string }>
  /** One datagram to an echo service; what came back, or `undefined`. */
  udpEcho(to: Service, text: string): Promise<string | undefined>
  /** Connects and, once connected, closes. */
  connect(to: Service): Promise<ConnectionEnd>
  /** Sends one line, reads to the end and says how the end came. */
  readToEnd(
    from: Service,
    line: string,
  ): Promise<{ readonly bytes: number; readonly end: ConnectionEnd }>
  /** Connects, waits for the first bytes, and goes away with a RST while more are coming. */
  abandon(from: Service): Promise<void>
  /** Opens `count` connections to an echo service, all open at the same time; how many echoed their own line. */
  parallelEcho(to: Service, count: number): Promise<number>
  /** Serves `text` to everybody who connects to `port`, then ends each connection. */
  serve(port: number, text: string): Promise<GuestService>
}
