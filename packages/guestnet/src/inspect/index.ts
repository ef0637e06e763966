/**
 * A live page of a network, and its counters for Prometheus.
 *
 * @packageDocumentation
 */
export type { FlowRow } from './flow-rows.ts'
export * from './inspector.ts'
export type { FeedMessage, StateMessage } from './live-feed.ts'
export { PROMETHEUS_TYPE, prometheusText } from './prometheus.ts'
export type { ProxyDecision } from './proxy-decisions.ts'
export type { Row, RowChanges } from './row-delta.ts'
