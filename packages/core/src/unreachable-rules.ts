/**
 * Rules that can never decide anything: what somebody wrote and what would happen are two different things, so it is told before a
 * flow is.
 *
 * A rule is unreachable when its own conditions exclude each other, or when an earlier rule matches everything that it matches.
 * Only one earlier rule at a time is looked at: two that cover a third together are not found.
 */

import { addressScope } from './address-scope.ts'
import type { AddressScope } from './address-scope.ts'
import { Cidr } from './cidr.ts'
import type { EgressRule } from './egress-rules.ts'

/** A rule that never decides. */
export interface UnreachableRule {
  /** Its place in the list, from 0. */
  readonly rule: number
  /** The place of the earlier rule that decides in its stead; `undefined` where its own conditions exclude each other. */
  readonly by: number | undefined
  /** Why, for a person. */
  readonly reason: string
}

/**
 * Finds them. The rules must be readable: see `egressRules`.
 *
 * @example
 * ```ts
 * import { unreachableRules } from '@netkit/core'
 *
 * const found = unreachableRules([
 *   { action: 'deny', to: ['10.0.0.0/8'] },
 *   { action: 'allow', to: ['10.1.2.3'], ports: [443] },
 * ])
 * console.assert(found[0]?.rule === 1 && found[0].by === 0)
 * ```
 */
export function unreachableRules(rules: readonly EgressRule[]): UnreachableRule[] {
  const read = rules.map(readConditions)
  const found: UnreachableRule[] = []
  for (const [rule, conditions] of read.entries()) {
    const contradiction = contradictionIn(conditions)
    if (contradiction !== undefined) {
      found.push({ rule, by: undefined, reason: contradiction })
      continue
    }
    const by = read.findIndex((earlier, at) => at < rule && covers(earlier, conditions))
    if (by < 0) continue
    const name = rules[by]?.name ?? `rule ${by + 1}`
    found.push({ rule, by, reason: `'${name}' before it matches everything that it matches` })
  }
  return found
}

/** Conditions of a rule; `undefined` is "any". */
interface Conditions {
  readonly protocol: string | undefined
  readonly to: readonly Cidr[] | undefined
  readonly scopes: readonly string[] | undefined
  readonly ports: readonly (readonly [number, number])[] | undefined
  readonly names: readonly string[] | undefined
  readonly guests: readonly string[] | undefined
}

function readConditions(rule: EgressRule): Conditions {
  const { protocol, names, guests } = rule
  const byNameOnly = names !== undefined && rule.to === undefined && rule.action === 'allow'
  return {
    protocol,
    to: rule.to?.map((text) => Cidr.parse(text)),
    scopes: rule.scopes ?? (byNameOnly ? ['public'] : undefined),
    ports: rule.ports?.map((ports) => (typeof ports === 'number' ? [ports, ports] : ports)),
    names: names?.map((name) => name.toLowerCase()),
    guests,
  }
}

function contradictionIn({
  protocol,
  to,
  scopes,
  ports,
  names,
  guests,
}: Conditions): string | undefined {
  const lists = { to, scopes, ports, names, guests }
  const empty = Object.entries(lists).find(([, list]) => list?.length === 0)
  if (empty) return `its list '${empty[0]}' is empty, and so nothing is in it`
  if (protocol === 'icmp' && ports && !ports.some(([first]) => first === 0))
    return 'ICMP has no ports'
  // Whether an address is the host's own changes while we run; everything else is in the address.
  const fixed = scopes?.every((scope) => scope !== 'host' && scope !== 'none')
  if (
    to &&
    scopes &&
    fixed &&
    !to.some((block) => scopesOf(block).some((scope) => scopes.includes(scope)))
  )
    return `no address of ${to.join(', ')} is ${scopes.join(' or ')}`
  return undefined
}

/** The scopes in a block, at both of its ends: a block that reaches over a border has both. */
function scopesOf(block: Cidr): AddressScope[] {
  return [addressScope(block.network), addressScope(block.at(-1))]
}

const same = (a: string, b: string): boolean => a === b

/** Whether each of `narrow` is included in one of `wide`; `undefined` is "any". */
function within<T>(
  wide: readonly T[] | undefined,
  narrow: readonly T[] | undefined,
  includes: (a: T, b: T) => boolean,
): boolean {
  if (wide === undefined) return true
  return narrow?.every((b) => wide.some((a) => includes(a, b))) ?? false
}

/** Whether `earlier` matches everything that `later` does. */
function covers(earlier: Conditions, later: Conditions): boolean {
  return (
    (earlier.protocol === undefined || earlier.protocol === later.protocol) &&
    within(earlier.to, later.to, (a, b) => a.includes(b)) &&
    within(earlier.scopes, later.scopes, same) &&
    within(
      earlier.ports,
      later.ports,
      ([first, last], [from, to]) => first <= from && to <= last,
    ) &&
    within(earlier.names, later.names, isNameWithin) &&
    within(earlier.guests, later.guests, same)
  )
}

const isNameWithin = (pattern: string, name: string): boolean =>
  pattern === name || (pattern.startsWith('*.') && name.endsWith(pattern.slice(1)))
