/**
 * A policy of ordered rules: the first rule that matches a flow decides, else the default does.
 *
 * ```
 *   flow ── rule 1 ── no ──▶ rule 2 ── yes ──▶ verdict { allow, rule: "rule 2", reason }
 * ```
 *
 * A rule matches when each of its conditions holds. Two things differ from a packet filter:
 *
 * - Destinations are compared in canonical form, so `::ffff:10.0.0.1`, `64:ff9b::a00:1` and `10.0.0.1` are one address.
 * - A rule that allows *names* opens public addresses only, unless it also says `to`: whoever controls a name controls what it
 *   resolves to, and must not be able to point it at the host's network (DNS rebinding).
 */

import type { AddressScope } from './address-scope.ts'
import { Cidr } from './cidr.ts'
import type { DenialReply, EgressPolicy, FlowRequest, Verdict } from './egress-policy.ts'
import { NetkitError } from './errors.ts'

/** One rule. A condition that is left out always holds. */
export interface PolicyRule {
  readonly action: 'allow' | 'deny'
  /** How the verdict calls the rule; default `rule N`. */
  readonly name?: string
  /** Blocks (`10.0.0.0/8`), addresses, or kinds of address (`private`, `metadata`, …; see `AddressScope`). */
  readonly to?: readonly string[]
  /** Names that led to the address: exact, or `*.example.com` for all below (and not `example.com` itself). */
  readonly names?: readonly string[]
  /** Ports and ranges: `443`, `"8000-8999"`. */
  readonly ports?: readonly (number | string)[]
  readonly protocols?: readonly FlowRequest['protocol'][]
  /** Guests by name. */
  readonly guests?: readonly string[]
  /** How a denied flow looks to the guest; default `reset`. */
  readonly reply?: DenialReply
}

/** A list of rules and what holds where none matches. */
export interface PolicyRules {
  /** Default `allow`. */
  readonly default?: 'allow' | 'deny'
  readonly rules: readonly PolicyRule[]
}

/** Rules that many want, to be put before one's own. */
export const policyPresets = {
  /** Closes the metadata services of clouds, which hand out credentials. */
  noMetadata: [{ action: 'deny', name: 'noMetadata', to: ['metadata'] }],
  /** Closes everything that is not on the public internet: private networks, link-local addresses, the host itself. */
  noPrivate: [
    {
      action: 'deny',
      name: 'noPrivate',
      to: ['private', 'link-local', 'metadata', 'host', 'loopback', 'multicast'],
    },
  ],
  /** Closes everything that no earlier rule opened. */
  deny: [{ action: 'deny', name: 'deny' }],
} as const satisfies Record<string, readonly PolicyRule[]>

const scopes: readonly string[] = [
  'loopback',
  'host',
  'metadata',
  'link-local',
  'private',
  'multicast',
  'public',
] satisfies readonly AddressScope[]

type Condition = (flow: FlowRequest) => boolean

interface CompiledRule {
  readonly verdict: Verdict
  readonly conditions: readonly Condition[]
}

/** What is wrong with one value of a rule; the place is given as a path: `rules`, 2, `ports`, 0. */
export class PolicyRuleError extends NetkitError {
  readonly path: readonly (string | number)[]

  constructor(path: readonly (string | number)[], message: string) {
    super('NETKIT_POLICY_INVALID', message)
    this.path = path
  }
}

function destination(to: readonly string[], path: readonly (string | number)[]): Condition {
  const kinds = new Set(to.filter((entry) => scopes.includes(entry)))
  const blocks = to.flatMap((entry, index) => {
    if (kinds.has(entry)) return []
    try {
      return Cidr.parse(entry)
    } catch {
      throw new PolicyRuleError(
        [...path, index],
        `"${entry}" is neither an address, nor a block such as 10.0.0.0/8, nor one of ${scopes.join(', ')}.`,
      )
    }
  })
  return ({ ip, scope }) =>
    kinds.has(scope) || (ip !== undefined && blocks.some((block) => block.contains(ip)))
}

function isPort(port: number | undefined): port is number {
  return port !== undefined && Number.isInteger(port) && port >= 0 && port <= 65_535
}

function portRanges(
  ports: readonly (number | string)[],
  path: readonly (string | number)[],
): Condition {
  const ranges = ports.map((entry, index): readonly [number, number] => {
    const [first, last = first] = String(entry).split('-').map(Number)
    if (!isPort(first) || !isPort(last) || last < first || !/^\d+(?:-\d+)?$/.test(String(entry))) {
      throw new PolicyRuleError(
        [...path, index],
        `"${entry}" is neither a port nor a range such as "8000-8999".`,
      )
    }
    return [first, last]
  })
  return ({ to }) =>
    'port' in to && ranges.some(([first, last]) => to.port >= first && to.port <= last)
}

/** Lower case, without the root's dot. */
function plainName(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}

function originNames(names: readonly string[], path: readonly (string | number)[]): Condition {
  const patterns = names.map((name, index) => {
    const plain = plainName(name)
    if (!/^(?:\*\.)?[^*\s]+$/.test(plain)) {
      throw new PolicyRuleError(
        [...path, index],
        `"${name}" is neither a name nor a pattern such as "*.example.com".`,
      )
    }
    return plain
  })
  return ({ origin }) =>
    (origin?.names ?? []).some((name) =>
      patterns.some((pattern) =>
        pattern.startsWith('*.')
          ? plainName(name).endsWith(pattern.slice(1))
          : plainName(name) === pattern,
      ),
    )
}

function describe(rule: PolicyRule, name: string): string {
  const what = rule.action === 'allow' ? 'allowed' : 'denied'
  const conditions = (['to', 'names', 'ports', 'protocols', 'guests'] as const)
    .filter((key) => rule[key] !== undefined)
    .map((key) => `${key} ${rule[key]?.join(', ')}`)
  return `${what} by ${name}${conditions.length > 0 ? ` (${conditions.join('; ')})` : ''}`
}

function compile(rule: PolicyRule, index: number): CompiledRule {
  const path = ['rules', index]
  const name = rule.name ?? `rule ${index + 1}`
  const conditions: Condition[] = []
  const { to, names, ports, protocols, guests } = rule
  if (protocols) conditions.push((flow) => protocols.includes(flow.protocol))
  if (guests)
    conditions.push(({ origin }) => origin?.guest !== undefined && guests.includes(origin.guest))
  if (ports) conditions.push(portRanges(ports, [...path, 'ports']))
  if (to) conditions.push(destination(to, [...path, 'to']))
  if (names) conditions.push(originNames(names, [...path, 'names']))
  if (names && !to && rule.action === 'allow') conditions.push(({ scope }) => scope === 'public')
  return {
    conditions,
    verdict: {
      allow: rule.action === 'allow',
      rule: name,
      reason: describe(rule, name),
      ...(rule.reply !== undefined && { reply: rule.reply }),
    },
  }
}

/** A policy whose rules can be replaced while flows live. */
export interface RulesPolicy extends EgressPolicy {
  decide(flow: FlowRequest): Verdict
  onChange(run: () => void): () => void
  /** Takes new rules into force; live flows are decided again. Invalid rules leave the old ones in force. */
  replace(rules: PolicyRules): void
}

/**
 * Makes a policy of ordered rules.
 *
 * @throws PolicyRuleError `NETKIT_POLICY_INVALID`, with the path of the offending value.
 * @example
 * ```ts
 * import { policyPresets, rulesPolicy } from '@netkit/core'
 *
 * const policy = rulesPolicy({
 *   default: 'deny',
 *   rules: [...policyPresets.noMetadata, { action: 'allow', names: ['*.npmjs.org'], ports: [443] }],
 * })
 * const verdict = policy.decide({
 *   protocol: 'tcp',
 *   to: { ip: '192.0.2.7', port: 443 },
 *   ip: '192.0.2.7',
 *   scope: 'public',
 *   origin: { layer: 'tcpip', names: ['registry.npmjs.org'] },
 * })
 * console.assert(verdict.allow && verdict.rule === 'rule 2')
 * ```
 */
export function rulesPolicy(initial: PolicyRules): RulesPolicy {
  const listeners = new Set<() => void>()
  let compiled: readonly CompiledRule[] = initial.rules.map(compile)
  let fallback = defaultVerdict(initial)
  return {
    decide: (flow) =>
      compiled.find((rule) => rule.conditions.every((holds) => holds(flow)))?.verdict ?? fallback,
    onChange(run) {
      listeners.add(run)
      return () => listeners.delete(run)
    },
    replace(rules) {
      compiled = rules.rules.map(compile)
      fallback = defaultVerdict(rules)
      for (const run of listeners) run()
    },
  }
}

function defaultVerdict(rules: PolicyRules): Verdict {
  return rules.default === 'deny'
    ? { allow: false, rule: 'default', reason: 'denied: no rule allows it' }
    : { allow: true, rule: 'default', reason: 'allowed: no rule denies it' }
}
