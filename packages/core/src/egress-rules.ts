/**
 * A policy as a list: the first rule that matches decides, and what no rule matches is up to `fallback`.
 *
 * - Rules are for destinations that guests choose. What the host's own configuration chose (an upstream resolver or proxy) is
 *   allowed.
 * - **A name is a claim, an address a fact.** A rule with `names` and neither `to` nor `scopes` matches public addresses only, so
 *   that a permitted name which suddenly resolves to 169.254.169.254 or 10.0.0.1 opens nothing. A company's names that
 *   lead to private addresses are written with `scopes: ['public', 'private']`.
 */

import type { AddressScope } from './address-scope.ts'
import { Cidr } from './cidr.ts'
import { isChosenByGuest } from './egress-policy.ts'
import type { DenialReply, EgressPolicy, FlowRequest, Verdict } from './egress-policy.ts'
import { NetkitError } from './errors.ts'

/** One rule. All given conditions must hold; within a list, one. */
export interface EgressRule {
  readonly action: 'allow' | 'deny'
  /** Shown in verdicts; default `rule 3` by its place, from 1. */
  readonly name?: string
  /** Shown with a denial. */
  readonly reason?: string
  readonly protocol?: FlowRequest['protocol']
  /** Addresses or CIDR blocks. */
  readonly to?: readonly string[]
  readonly scopes?: readonly (AddressScope | 'none')[]
  /** Ports, or ranges `[first, last]`. */
  readonly ports?: readonly (number | readonly [number, number])[]
  /** Names: `registry.example` is that name, `*.example` every name below it. */
  readonly names?: readonly string[]
  readonly guests?: readonly string[]
  /** For `deny`: how it looks to the guest; default `reset`. */
  readonly reply?: DenialReply
}

/** Options of `egressRules`. */
export interface EgressRulesOptions {
  /** What happens to flows that no rule matches; default `allow`. */
  fallback?: 'allow' | 'deny'
}

/** A policy whose rules can be exchanged while flows are live. */
export interface EgressRules extends EgressPolicy {
  decide(flow: FlowRequest): Verdict
  /** A rule allows by name, and what no rule matches is denied. */
  readonly byName: boolean
  onChange(run: () => void): () => void
  /** Takes other rules from now on; live flows are decided again. */
  replace(rules: readonly EgressRule[], options?: EgressRulesOptions): void
}

/** Lets everything through. */
export const allowAll: EgressPolicy = {
  decide: () => ({ allow: true, rule: 'allow-all', reason: 'everything is allowed' }),
}

/** Lists of rules to start from; put your own before or after them. */
export const egressPresets = {
  /** Cloud metadata services, which hand out credentials. */
  noMetadata: [
    {
      action: 'deny',
      name: 'no-metadata',
      scopes: ['metadata'],
      reason: 'cloud metadata services hand out credentials of the host',
    },
  ],
  /** Everything that is not the public internet: private networks, the host itself, link-local and metadata. */
  noPrivate: [
    {
      action: 'deny',
      name: 'no-private',
      scopes: ['private', 'host', 'loopback', 'link-local', 'metadata', 'multicast'],
      reason: 'only public addresses are allowed',
    },
  ],
  /** Nothing at all. */
  deny: [{ action: 'deny', name: 'deny', reason: 'nothing is allowed' }],
} as const satisfies Readonly<Record<string, readonly EgressRule[]>>

/**
 * A policy from rules.
 *
 * @throws EgressRuleError `NETKIT_POLICY_INVALID` with the rule and the field, when a rule cannot be read.
 *
 * @example
 * ```ts
 * import { egressPresets, egressRules } from '@netkit/core'
 *
 * const policy = egressRules(
 *   [{ action: 'allow', names: ['*.npmjs.example'], ports: [443] }, ...egressPresets.noPrivate],
 *   { fallback: 'deny' },
 * )
 * const origin = { layer: 'tcpip', guest: 'vm1', names: ['registry.npmjs.example'] } as const
 * const flow = { protocol: 'tcp', to: { ip: '203.0.113.9', port: 443 }, ip: '203.0.113.9', scope: 'public', origin } as const
 * console.assert(policy.decide(flow).allow)
 * console.assert(!policy.decide({ ...flow, ip: '10.0.0.1', scope: 'private' }).allow)
 * ```
 */
export function egressRules(
  rules: readonly EgressRule[],
  options: EgressRulesOptions = {},
): EgressRules {
  let compiled = rules.map(compile)
  let fallback = options.fallback ?? 'allow'
  const listeners = new Set<() => void>()
  return {
    decide: (flow) => decide(compiled, fallback, flow),
    get byName() {
      return fallback === 'deny' && compiled.some(allowsByName)
    },
    onChange(run) {
      listeners.add(run)
      return () => listeners.delete(run)
    },
    replace(newRules, newOptions = {}) {
      compiled = newRules.map(compile)
      fallback = newOptions.fallback ?? fallback
      for (const run of listeners) run()
    },
  }
}

/** A rule cannot be read. */
export class EgressRuleError extends NetkitError {
  /** Place of the rule in its list, from 0. */
  readonly rule: number
  readonly field: keyof EgressRule

  constructor(rule: number, field: keyof EgressRule, what: string, cause?: unknown) {
    super('NETKIT_POLICY_INVALID', `Egress rule ${rule + 1}, field '${field}': ${what}`, { cause })
    this.rule = rule
    this.field = field
  }
}

const allowsByName = ({ rule }: CompiledRule): boolean =>
  rule.action === 'allow' && rule.names !== undefined

interface CompiledRule {
  readonly rule: EgressRule
  readonly name: string
  readonly blocks: readonly Cidr[] | undefined
  readonly scopes: readonly string[] | undefined
}

function decide(rules: readonly CompiledRule[], fallback: string, flow: FlowRequest): Verdict {
  if (!isChosenByGuest(flow.origin)) {
    return {
      allow: true,
      rule: 'host',
      reason: "the host's own configuration chose the destination",
    }
  }
  const match = rules.find((rule) => matches(rule, flow))
  if (match === undefined) {
    const allow = fallback === 'allow'
    return { allow, rule: 'fallback', reason: `no rule matched, and the fallback is ${fallback}` }
  }
  const { rule, name } = match
  if (rule.action === 'allow') {
    return { allow: true, rule: name, reason: rule.reason ?? 'the rule allows it' }
  }
  const reason = rule.reason ?? 'the rule denies it'
  return { allow: false, rule: name, reason, ...(rule.reply && { reply: rule.reply }) }
}

function matches({ rule, blocks, scopes }: CompiledRule, flow: FlowRequest): boolean {
  const { ip } = flow
  const { guest, names } = flow.origin ?? {}
  const port = 'port' in flow.to ? flow.to.port : undefined
  return (
    (rule.protocol === undefined || rule.protocol === flow.protocol) &&
    (blocks === undefined || (ip !== undefined && blocks.some((block) => block.contains(ip)))) &&
    (scopes === undefined || scopes.includes(flow.scope)) &&
    (rule.ports === undefined || (port !== undefined && rule.ports.some((p) => covers(p, port)))) &&
    (rule.names === undefined || (names?.some((name) => namedBy(rule.names, name)) ?? false)) &&
    (rule.guests === undefined || (guest !== undefined && rule.guests.includes(guest)))
  )
}

const covers = (ports: number | readonly [number, number], port: number): boolean =>
  typeof ports === 'number' ? ports === port : port >= ports[0] && port <= ports[1]

function namedBy(patterns: readonly string[] = [], name: string): boolean {
  const normal = name.toLowerCase().replace(/\.$/, '')
  return patterns.some((pattern) => {
    const wanted = pattern.toLowerCase()
    return wanted.startsWith('*.') ? normal.endsWith(wanted.slice(1)) : normal === wanted
  })
}

function compile(rule: EgressRule, index: number): CompiledRule {
  const place = index + 1
  const invalid = (field: keyof EgressRule, what: string, cause?: unknown): EgressRuleError =>
    new EgressRuleError(index, field, what, cause)
  // Rules come from files, too: the types promise nothing.
  if (!['allow', 'deny'].includes(rule.action)) {
    throw invalid('action', `expected 'allow' or 'deny', got ${JSON.stringify(rule.action)}.`)
  }
  for (const ports of rule.ports ?? []) {
    const [first, last] = typeof ports === 'number' ? [ports, ports] : ports
    if (!isPort(first) || !isPort(last) || first > last) {
      throw invalid(
        'ports',
        `${JSON.stringify(ports)} is neither a port nor a range [first, last].`,
      )
    }
  }
  for (const name of rule.names ?? []) {
    if (!/^(?:\*\.)?[^*\s/:]+$/.test(name)) {
      throw invalid('names', `'${name}' is neither a name nor '*.' and a name.`)
    }
  }
  let blocks: readonly Cidr[] | undefined
  try {
    blocks = rule.to?.map((text) => Cidr.parse(text))
  } catch (error) {
    throw invalid('to', (error as Error).message, error)
  }
  const byNameOnly = rule.names !== undefined && rule.to === undefined && rule.action === 'allow'
  return {
    rule,
    name: rule.name ?? `rule ${place}`,
    blocks,
    scopes: rule.scopes ?? (byNameOnly ? ['public'] : undefined),
  }
}

const isPort = (port: unknown): boolean =>
  Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65_535
