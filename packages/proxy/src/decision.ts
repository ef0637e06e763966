/**
 * Where a connection goes: one `Decision` from ordered sources.
 *
 * ```
 *   target ─▶ manual ─▶ policy ─▶ system ─▶ env ─▶ direct        the first that has an opinion decides
 * ```
 *
 * Sources are asked at every connection and every request, so a change of settings is visible to the next one; nothing is told to
 * the guest, and what is established lives on.
 */

import type { Credentials } from './authentication.ts'

/** What a client wants to reach. */
export interface ProxyTarget {
  /** `tcp` where the protocol is not known: SOCKS, or a tunnel to another port. */
  readonly scheme: 'http' | 'https' | 'tcp'
  /** A name in lower case, or an address without brackets. */
  readonly host: string
  readonly port: number
  /** How the client asked. */
  readonly kind: 'explicit' | 'connect' | 'socks' | 'transparent'
  readonly guest?: string
  /** The address that a transparent connection was going to: a direct way goes there, unless names are checked. */
  readonly address?: string
}

/** An upstream proxy. */
export interface ProxyHop {
  readonly via: 'http' | 'https' | 'socks5'
  readonly host: string
  readonly port: number
  readonly credentials?: Credentials
}

/** One way to go. */
export type Hop = { readonly via: 'direct' } | ProxyHop

/** Why a target is refused. */
export interface Denial {
  readonly rule: string
  readonly reason: string
}

/** Where a connection goes, and who said so. */
export interface Decision {
  /** Tried in order; empty when denied. */
  readonly hops: readonly Hop[]
  readonly deny?: Denial
  /** The source that decided. */
  readonly source: string
  /** Why, for a person. */
  readonly reason: string
}

/** What a source answers. */
export type SourceAnswer = Omit<Decision, 'source'>

/** Something that may know where a target goes. */
export interface DecisionSource {
  /** `manual`, `policy`, `system`, `env`, … */
  readonly name: string
  /** `undefined`: no opinion; the next source is asked. */
  decide(
    target: ProxyTarget,
    signal?: AbortSignal,
  ): SourceAnswer | undefined | Promise<SourceAnswer | undefined>
  /** Where its opinions come from, for `explain`. */
  describe?(): string
  /** Runs `run` when earlier answers may no longer hold; returns what removes the listener. */
  onChange?(run: () => void): () => void
}

/** One source's part in a decision. */
export interface DecisionStep {
  readonly source: string
  readonly said: string
  /** Where the source has it from. */
  readonly from?: string
}

/** A decision with the way to it. */
export interface DecisionTrace {
  readonly target: ProxyTarget
  readonly steps: readonly DecisionStep[]
  readonly decision: Decision
}

/**
 * Asks the sources in order.
 *
 * @example
 * ```ts
 * import { decide } from '@netkit/proxy'
 *
 * const office = { name: 'manual', decide: () => ({ hops: [{ via: 'http', host: 'proxy.example', port: 3128 }], reason: 'always' }) } as const
 * const target = { scheme: 'http', host: 'www.example', port: 80, kind: 'explicit' } as const
 * console.assert((await decide([office], target)).source === 'manual')
 * console.assert((await decide([], target)).hops[0]?.via === 'direct')
 * ```
 */
export function decide(
  sources: readonly DecisionSource[],
  target: ProxyTarget,
  signal?: AbortSignal,
): Promise<Decision> {
  return ask(sources, target, signal, undefined)
}

/** As `decide`, and tells what each source said. */
export async function traceDecision(
  sources: readonly DecisionSource[],
  target: ProxyTarget,
  signal?: AbortSignal,
): Promise<DecisionTrace> {
  const steps: DecisionStep[] = []
  const decision = await ask(sources, target, signal, steps)
  return { target, steps, decision }
}

async function ask(
  sources: readonly DecisionSource[],
  target: ProxyTarget,
  signal: AbortSignal | undefined,
  steps: DecisionStep[] | undefined,
): Promise<Decision> {
  for (const source of sources) {
    const asked = source.decide(target, signal)
    const answer = asked instanceof Promise ? await asked : asked
    if (steps !== undefined) {
      const said = answer ? `${describeDecision(answer)} (${answer.reason})` : 'no opinion'
      const from = source.describe?.()
      steps.push({ source: source.name, said, ...(from !== undefined && { from }) })
    }
    if (answer !== undefined) return { ...answer, source: source.name }
  }
  steps?.push({ source: DIRECT.source, said: DIRECT.reason })
  return DIRECT
}

const DIRECT: Decision = {
  hops: [{ via: 'direct' }],
  source: 'direct',
  reason: 'no source knows of a proxy for it',
}

/** A decision in a few words: `http proxy.example:3128, then direct`. */
export function describeDecision(decision: Pick<Decision, 'hops' | 'deny'>): string {
  if (decision.deny) return `denied by '${decision.deny.rule}'`
  return decision.hops.map(describeHop).join(', then ')
}

/** A hop in a few words, without its credentials. */
export function describeHop(hop: Hop): string {
  return hop.via === 'direct' ? 'direct' : `${hop.via} ${formatAuthority(hop.host, hop.port)}`
}

/** `host:port`, with brackets around an IPv6 address. */
export function formatAuthority(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
