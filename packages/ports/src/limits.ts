/**
 * Every bound, timeout and default of this package, with its unit in the name and its reason.
 */

/** Bounds of a `PortBroker`. */
export interface PortLimits {
  /** Connections and UDP flows at a time over all ports. The Node edge derives it from the process's descriptor limit. */
  readonly maxFlows: number
  /**
   * Connections the kernel may hold until they are accepted; it has its own ceiling (Linux: net.core.somaxconn, 4096). With
   * Node's 511 a fifth of 2,000 clients who came at once were reset.
   */
  readonly listenBacklog: number
  /** Connections that wait for `commit`, per reservation: more would only time out in the client. */
  readonly maxHeldConnections: number
  /** Ports in one request: all there are. */
  readonly maxPortsPerRequest: number
  /** A reservation that nobody commits is given back after this time, `ms`: an engine's slowest image start is below it. */
  readonly reservationTtlMs: number
  /** A target that does not answer within this time counts as unreachable, `ms`: below the 30 s after which browsers give up. */
  readonly dialTimeoutMs: number
  /** A UDP flow without datagrams is forgotten after this time, `ms`: RFC 4787 REQ-5 asks for at least 2 min. */
  readonly udpIdleTimeoutMs: number
  /** UDP flows per port; beyond it the one idle longest goes. */
  readonly maxUdpFlowsPerPort: number
  /** Datagrams that wait while a flow's port in the guest is being bound; more are dropped, as any router would. */
  readonly maxPendingDatagrams: number
  /** Bytes that may wait in the kernel's hands per UDP socket before datagrams are dropped. */
  readonly maxQueuedUdpBytes: number
  /** Searching for the holder of a port may take this long, `ms`; the error is told without it after that. */
  readonly holderLookupMs: number
  /** How often a number that was free for one address and taken for another is tried anew. moby's allocator: 10. */
  readonly ephemeralAttempts: number
}

/** The defaults. */
export const portLimits: PortLimits = {
  maxFlows: 8192,
  listenBacklog: 16_384,
  maxHeldConnections: 128,
  maxPortsPerRequest: 65_535,
  reservationTtlMs: 120_000,
  dialTimeoutMs: 20_000,
  udpIdleTimeoutMs: 120_000,
  maxUdpFlowsPerPort: 1024,
  maxPendingDatagrams: 16,
  maxQueuedUdpBytes: 1 << 20,
  holderLookupMs: 300,
  ephemeralAttempts: 10,
}

/** Bounds of the forwarder multiplexer. */
export interface MuxLimits {
  /** Bytes a peer may send on one connection before they are read. vpnkit starts with 64 KiB; a peer obeys what it is told. */
  readonly windowBytes: number
  /** Connections at a time. */
  readonly maxChannels: number
  /** Bytes that may wait in the connection below before channels stop framing. */
  readonly queueBytes: number
  /** Size of one read. */
  readonly readBlockBytes: number
  /** The peer's greeting must be there within this time, `ms`. */
  readonly handshakeTimeoutMs: number
}

/** The defaults. */
export const muxLimits: MuxLimits = {
  windowBytes: 262_144,
  maxChannels: 8192,
  queueBytes: 1 << 20,
  readBlockBytes: 65_536,
  handshakeTimeoutMs: 10_000,
}
