/**
 * Everything one can dial, listen on or bind in is a `Network`: the host OS, the guests behind a gateway, a virtual host in
 * a test, "the host through a SOCKS proxy". Layers take Networks and policies; none knows which VM is below.
 *
 * Failures reject with a socket error (`ECONNREFUSED`, `EADDRINUSE`, …; see `socketError`). An aborted call rejects with the
 * signal's reason and leaves nothing open. A kind of endpoint that a network does not have rejects with `ENOTSUP`.
 */

import type { Block } from './block.ts'
import type { ByteStream } from './byte-stream.ts'
import type { Endpoint, IpEndpoint } from './endpoint.ts'
import type { FlowOrigin } from './egress-policy.ts'
import type { PingOptions, PingOutcome } from './pinger.ts'

/** Options of `Dialer.connect`. */
export interface ConnectOptions {
  /** Gives up: the call rejects with the signal's reason, and no connection is left behind. */
  signal?: AbortSignal
  /** The local end: what the peer sees as the client. A network that cannot take it on rejects with `EADDRNOTAVAIL`. */
  from?: Endpoint
  /** On whose behalf; travels to the policy, the counters and the diagnostics. */
  origin?: FlowOrigin
}

/** Opens streams. */
export interface Dialer {
  /** Resolves once the peer has accepted. */
  connect(to: Endpoint, options?: ConnectOptions): Promise<ByteStream>
}

/** Options of `Acceptor.listen`. */
export interface ListenOptions {
  signal?: AbortSignal
  /** Connections the kernel may queue before they are accepted. Default 511. */
  backlog?: number
  /** An IPv6 wildcard also takes IPv4 connections. Default `false`: each family is listened on by itself. */
  dualStack?: boolean
  /**
   * A published port: guests may reach it through the host alias, like any other service of the host. Default `false`: netkit's
   * own listeners are closed to guests.
   */
  guestReachable?: boolean
}

/** A listener that is bound. */
export interface Listening extends AsyncDisposable {
  /** Where it listens; a port that was asked for as 0 is filled in. */
  readonly address: Endpoint
  /** Stops accepting; streams already accepted live on. Idempotent. */
  close(): Promise<void>
}

/** Accepts streams. */
export interface Acceptor {
  /** Resolves once bound: whoever dials from now on is served. */
  listen(
    at: Endpoint,
    accept: (stream: ByteStream) => void,
    options?: ListenOptions,
  ): Promise<Listening>
}

/** Options of `Binder.bind`. */
export interface BindOptions {
  signal?: AbortSignal
  /** Talk to this peer alone; its ICMP errors then reach `onError`. */
  connected?: IpEndpoint
  origin?: FlowOrigin
}

/** A datagram could not be delivered. */
export interface DatagramFailure {
  /** The error a socket would report: `ECONNREFUSED`, `EMSGSIZE`, `EHOSTUNREACH`, … */
  readonly error: Error
  /** The destination, where known. */
  readonly to?: IpEndpoint
}

/** A bound datagram port. */
export interface DatagramPort extends AsyncDisposable {
  readonly local: IpEndpoint
  /** The only peer, when bound with `connected`. */
  readonly connected: IpEndpoint | undefined
  /** Runs for each datagram. The bytes are the receiver's only during the call. One listener; `undefined` removes it. */
  onMessage(run: ((bytes: Uint8Array, from: IpEndpoint) => void) | undefined): void
  /** Runs when the network reports that a datagram could not be delivered. One listener. */
  onError(run: ((failure: DatagramFailure) => void) | undefined): void
  /**
   * Sends one datagram: `length` bytes of `block` from `offset`. Takes over one pin of the block.
   * `to` is left out when connected. Never throws; what cannot be sent reaches `onError` or is a counted drop.
   */
  send(block: Block, offset: number, length: number, to?: IpEndpoint): void
  /** Bytes handed to `send` and not yet taken by the kernel: the sender keeps its own bound on it. */
  readonly queued: number
  /** Idempotent. */
  close(): Promise<void>
}

/** Binds datagram ports. */
export interface Binder {
  bind(at: IpEndpoint, options?: BindOptions): Promise<DatagramPort>
}

/** A place to dial from, listen on and bind in. One that can ask whether a host answers has `ping` as well. */
export interface Network extends Dialer, Acceptor, Binder {
  /** See `Pinger.ping`. */
  ping?(ip: string, options?: PingOptions): Promise<PingOutcome>
}
