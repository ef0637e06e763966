/** What a multiplexer is, and takes. */

import type {
  Binder,
  ByteStream,
  Clock,
  DatagramPort,
  Dialer,
  Endpoint,
  IpEndpoint,
  NetkitError,
} from '@netkit/core'
import type { MuxLimits } from './limits.ts'

/** A connection that the peer opened. */
export type MuxIncoming =
  | { readonly protocol: 'tcp' | 'unix'; readonly to: Endpoint; readonly stream: ByteStream }
  | { readonly protocol: 'udp'; readonly to: IpEndpoint; readonly port: DatagramPort }

/** Options of `openForwarderMux`. */
export interface ForwarderMuxOptions {
  /** Takes what the peer opens; without it the peer's connections are closed. */
  readonly accept?: (incoming: MuxIncoming) => void
  /** Ids count up from 0 or down from 2^32-1: the two ends must differ when both dial. Default `up`. */
  readonly ids?: 'up' | 'down'
  readonly limits?: Partial<MuxLimits>
  readonly clock?: Clock
  readonly signal?: AbortSignal
}

/** A running multiplexer: the dialling half of a network. */
export interface ForwarderMux extends Dialer, Binder, AsyncDisposable {
  /** Resolves when the connection below is over, with the reason where it failed. */
  readonly closed: Promise<NetkitError | undefined>
  stats(): {
    channels: number
    opened: number
    accepted: number
    framesIn: number
    framesOut: number
  }
  /** Resets all channels and the connection below. Idempotent. */
  close(): Promise<void>
}
