/**
 * The state diagram (RFC 9293 3.3.2) as one pure function: `step(state, event)`.
 *
 * ```
 *    SYN-SENT ──syn-ack──▶ ESTABLISHED ◀──our-syn-acked── SYN-RECEIVED ◀──syn── (passive, or SYN-SENT: simultaneous open)
 *                           │       │
 *                     our-fin      fin
 *                           ▼       ▼
 *                    FIN-WAIT-1   CLOSE-WAIT ──our-fin──▶ LAST-ACK ──our-fin-acked──▶ CLOSED
 *             our-fin-acked │ │ fin                                                    ▲
 *                           ▼ ▼                                                        │
 *                 FIN-WAIT-2  CLOSING ──our-fin-acked──▶ TIME-WAIT ──time-wait-over────┘
 *                        └───────────fin───────────────────▲
 * ```
 *
 * LISTEN is not here: a listener is the engine's route (or the stack's table), and a connection begins with its SYN.
 */

/** RFC 9293 3.3.2. */
export type TcpState =
  | 'SYN-SENT'
  | 'SYN-RECEIVED'
  | 'ESTABLISHED'
  | 'FIN-WAIT-1'
  | 'FIN-WAIT-2'
  | 'CLOSE-WAIT'
  | 'CLOSING'
  | 'LAST-ACK'
  | 'TIME-WAIT'
  | 'CLOSED'

/** What moves a connection from one state to another. */
export type TcpEvent =
  | 'syn'
  | 'syn-ack'
  | 'our-syn-acked'
  | 'our-fin'
  | 'our-fin-acked'
  | 'fin'
  | 'time-wait-over'
  | 'abort'

const TRANSITIONS: Record<TcpState, Partial<Record<TcpEvent, TcpState>>> = {
  'SYN-SENT': { syn: 'SYN-RECEIVED', 'syn-ack': 'ESTABLISHED' },
  'SYN-RECEIVED': { 'our-syn-acked': 'ESTABLISHED' },
  ESTABLISHED: { 'our-fin': 'FIN-WAIT-1', fin: 'CLOSE-WAIT' },
  'FIN-WAIT-1': { 'our-fin-acked': 'FIN-WAIT-2', fin: 'CLOSING' },
  'FIN-WAIT-2': { fin: 'TIME-WAIT' },
  'CLOSE-WAIT': { 'our-fin': 'LAST-ACK' },
  CLOSING: { 'our-fin-acked': 'TIME-WAIT' },
  'LAST-ACK': { 'our-fin-acked': 'CLOSED' },
  'TIME-WAIT': { 'time-wait-over': 'CLOSED' },
  CLOSED: {},
}

/** The state after `event`; an event that means nothing in `state` leaves it. */
export function step(state: TcpState, event: TcpEvent): TcpState {
  if (event === 'abort') return 'CLOSED'
  return TRANSITIONS[state][event] ?? state
}

/** Whether the peer's SYN has been seen and ours answered or on its way: sequence numbers on both sides mean something. */
export function isSynchronized(state: TcpState): boolean {
  return state !== 'SYN-SENT' && state !== 'CLOSED'
}

/** Whether data of the peer's is still to come. */
export function mayReceive(state: TcpState): boolean {
  return state === 'ESTABLISHED' || state === 'FIN-WAIT-1' || state === 'FIN-WAIT-2'
}

/** Whether our data, or our FIN, may (still) be sent or repeated. */
export function maySend(state: TcpState): boolean {
  return (
    state === 'ESTABLISHED' ||
    state === 'CLOSE-WAIT' ||
    state === 'FIN-WAIT-1' ||
    state === 'CLOSING' ||
    state === 'LAST-ACK'
  )
}
