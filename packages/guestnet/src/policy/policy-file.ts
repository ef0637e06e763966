/**
 * The policy file: JSON with comments, shaped as `policy.schema.json` says. Whatever is wrong with it is told with its line,
 * before anything starts.
 *
 * ```json
 * {
 *   "presets": ["noMetadata"],
 *   "rules": [{ "action": "deny", "scopes": ["private"], "reply": "admin-prohibited" }]
 * }
 * ```
 */

import {
  egressPresets,
  EgressRuleError,
  egressRules,
  NetkitError,
  unreachableRules,
} from '@netkit/core'
import type { EgressRule } from '@netkit/core'
import {
  findNodeAtLocation,
  getNodeValue,
  parseTree,
  printParseErrorCode,
  type Node,
  type ParseError,
} from 'jsonc-parser'

const scopes = ['loopback', 'host', 'metadata', 'link-local', 'private', 'multicast', 'public']
const protocols = ['tcp', 'udp', 'icmp']

/** What each field of a rule holds: a text, one of some words, a list of texts, of some words, or of ports. */
const ruleFields: Record<
  keyof EgressRule,
  'text' | 'texts' | 'ports' | { one: readonly string[] } | { some: readonly string[] }
> = {
  action: { one: ['allow', 'deny'] },
  name: 'text',
  reason: 'text',
  protocol: { one: protocols },
  to: 'texts',
  scopes: { some: scopes },
  ports: 'ports',
  names: 'texts',
  guests: 'texts',
  reply: { one: ['reset', 'admin-prohibited', 'drop'] },
}

/** A policy file, read. */
export interface PolicyFile {
  /** What holds where no rule matches. */
  readonly fallback: 'allow' | 'deny'
  /** Presets first, then the file's own. */
  readonly rules: readonly EgressRule[]
}

/** Turns places in the text into errors a person can follow. */
class PolicyText {
  readonly #text: string
  readonly #file: string

  constructor(text: string, file: string) {
    this.#text = text
    this.#file = file
  }

  refuse(offset: number, message: string): never {
    const before = this.#text.slice(0, offset).split('\n')
    throw new NetkitError(
      'NETKIT_POLICY_FILE',
      `${this.#file}:${before.length}:${(before.at(-1) ?? '').length + 1}: ${message}`,
    )
  }

  fields(node: Node | undefined, what: string, known: readonly string[]): Map<string, Node> {
    if (node?.type !== 'object') return this.refuse(node?.offset ?? 0, `${what} is not an object.`)
    const fields = new Map<string, Node>()
    for (const property of node.children ?? []) {
      const [key, value] = property.children ?? []
      if (!key || !value) continue
      const name = String(key.value)
      if (!known.includes(name)) {
        this.refuse(key.offset, `${what} has no field "${name}". It knows ${known.join(', ')}.`)
      }
      fields.set(name, value)
    }
    return fields
  }

  oneOf(node: Node, allowed: readonly string[]): string {
    const value: unknown = getNodeValue(node)
    if (typeof value === 'string' && allowed.includes(value)) return value
    return this.refuse(node.offset, `${JSON.stringify(value)} is none of ${allowed.join(', ')}.`)
  }

  list(node: Node, what: string): readonly Node[] {
    if (node.type !== 'array') return this.refuse(node.offset, `${what} is not a list.`)
    return node.children ?? []
  }
}

/** `443` or `"8000-8999"`. */
function readPorts(text: PolicyText, node: Node): number | readonly [number, number] {
  const value: unknown = getNodeValue(node)
  if (typeof value === 'number') return value
  const [, first, last] = /^(\d+)-(\d+)$/.exec(String(value)) ?? []
  if (first === undefined || last === undefined) {
    return text.refuse(
      node.offset,
      `${JSON.stringify(value)} is neither a port nor a range such as "8000-8999".`,
    )
  }
  return [Number(first), Number(last)]
}

function readText(text: PolicyText, node: Node): string {
  const value: unknown = getNodeValue(node)
  return typeof value === 'string'
    ? value
    : text.refuse(node.offset, `${JSON.stringify(value)} is not a text.`)
}

function readField(text: PolicyText, name: keyof EgressRule, node: Node): unknown {
  const kind = ruleFields[name]
  if (kind === 'text') return readText(text, node)
  if (typeof kind === 'object' && 'one' in kind) return text.oneOf(node, kind.one)
  return text.list(node, `"${name}"`).map((entry) => {
    if (kind === 'ports') return readPorts(text, entry)
    return kind === 'texts' ? readText(text, entry) : text.oneOf(entry, kind.some)
  })
}

function readRule(text: PolicyText, node: Node, index: number): EgressRule {
  const what = `rule ${index + 1}`
  const fields = text.fields(node, what, Object.keys(ruleFields))
  if (!fields.has('action')) text.refuse(node.offset, `${what} has no "action": allow or deny.`)
  return Object.fromEntries(
    Array.from(fields, ([name, value]) => [name, readField(text, name as keyof EgressRule, value)]),
  ) as unknown as EgressRule
}

/**
 * Reads a policy file's text.
 *
 * @param file - How errors call the file.
 * @throws NetkitError `NETKIT_POLICY_FILE`: file, line, column, what is wrong and what would be right.
 * @example
 * ```ts
 * import { parsePolicyFile } from '@netkit/guestnet'
 *
 * const { fallback, rules } = parsePolicyFile('{ "default": "deny", "rules": [{ "action": "allow", "ports": [443] }] }', 'policy.json')
 * console.assert(fallback === 'deny' && rules.length === 1)
 * ```
 */
export function parsePolicyFile(content: string, file: string): PolicyFile {
  const text = new PolicyText(content, file)
  const errors: ParseError[] = []
  const root = parseTree(content, errors, { allowTrailingComma: true })
  const [fault] = errors
  if (fault) text.refuse(fault.offset, `not valid JSON: ${printParseErrorCode(fault.error)}.`)
  const fields = text.fields(root, 'the policy', ['$schema', 'default', 'presets', 'rules'])
  const list = fields.get('rules') ?? text.refuse(0, 'the policy has no "rules".')
  const rules = text.list(list, '"rules"').map((node, index) => readRule(text, node, index))
  try {
    egressRules(rules)
  } catch (error) {
    if (!(error instanceof EgressRuleError) || !root) throw error
    const place = findNodeAtLocation(root, ['rules', error.rule, error.field])
    text.refuse(place?.offset ?? 0, error.message)
  }
  const presets = fields.get('presets')
  const chosen = presets ? text.list(presets, '"presets"') : []
  const names = chosen.map(
    (node) => text.oneOf(node, Object.keys(egressPresets)) as keyof typeof egressPresets,
  )
  const first = names.flatMap((name): readonly EgressRule[] => egressPresets[name])
  for (const { rule, reason } of unreachableRules([...first, ...rules])) {
    const own = rule - first.length
    const place = root && findNodeAtLocation(root, ['rules', own])
    // That one preset covers another is nobody's mistake.
    if (place)
      text.refuse(
        place.offset,
        `rule ${own + 1} can never match: ${reason}. Take it out, or move it up.`,
      )
  }
  const fallback = fields.get('default')
  return {
    fallback: fallback && text.oneOf(fallback, ['allow', 'deny']) === 'deny' ? 'deny' : 'allow',
    rules: [...first, ...rules],
  }
}
