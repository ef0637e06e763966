/** How much may be in flight. */

/** One connection's congestion control. Bytes and `ms` throughout. */
export interface CongestionControl {
  readonly name: 'newreno' | 'cubic'
  /** Bytes that may be in flight. */
  readonly window: number
  /** Below it the window grows by slow start. */
  readonly threshold: number
  /** `bytes` were acknowledged while the window was what held the sender back. */
  acknowledged(bytes: number, now: number, rtt: number): void
  /** Loss was seen by duplicate or selective ACKs, with `flight` bytes outstanding. */
  lossDetected(flight: number): void
  /** The retransmission timer ran out. `first`: not already recovering from an earlier timeout. */
  timedOut(flight: number, first: boolean): void
  /** The segment size became known or changed. */
  segmentSize(bytes: number): void
}

/** What a control starts from. */
export interface CongestionStart {
  readonly mss: number
  readonly initialWindow: number
}
