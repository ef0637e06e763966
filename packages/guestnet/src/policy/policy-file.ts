/**
 * The policy file: JSON with comments, shaped as `policy.schema.json` says. Whatever is wrong with it is told with its line,
 * before anything starts.
 *
 * ```json
 * {
 *   "presets": ["noMetadata"],
 *   "rules": [{ "action": "deny", "to": ["10.0.0.0/8"], "reply": "admin-prohibited" }]
 * }
 * ```
 */

import {
  NetkitError,
  policyPresets,
  PolicyRuleError,
  rulesPolicy,
  type PolicyRule,
  type PolicyRules,
} from '@netkit/core'
import {
  findNodeAtLocation,
  getNodeValue,
  parseTree,
  printParseErrorCode,
  type Node,
  type ParseError,
} from 'jsonc-parser'

type Place = readonly (string | number)[]

const ruleFields: Record<string, 'list' | 'text' | readonly string[]> = {
  action: ['allow', 'deny'],
  name: 'text',
  to: 'list',
  names: 'list',
  ports: 'list',
  protocols: 'list',
  guests: 'list',
  reply: ['reset', 'admin-prohibited', 'drop'],
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

function readRule(text: PolicyText, node: Node, index: number): PolicyRule {
  const what = `rule ${index + 1}`
  const fields = text.fields(node, what, Object.keys(ruleFields))
  if (!fields.has('action')) text.refuse(node.offset, `${what} has no "action": allow or deny.`)
  for (const [name, value] of fields) {
    const kind = ruleFields[name]
    if (kind === 'text' && value.type !== 'string')
      text.refuse(value.offset, `"${name}" is not a text.`)
    if (Array.isArray(kind)) text.oneOf(value, kind)
    if (kind !== 'list') continue
    for (const entry of text.list(value, `"${name}"`)) {
      if (name === 'protocols') text.oneOf(entry, ['tcp', 'udp', 'icmp'])
      const number = name === 'ports' && entry.type === 'number'
      if (entry.type !== 'string' && !number)
        text.refuse(
          entry.offset,
          `"${name}" holds ${JSON.stringify(getNodeValue(entry))}, which is not a text.`,
        )
    }
  }
  return getNodeValue(node) as PolicyRule
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
 * const rules = parsePolicyFile('{ "default": "deny", "rules": [{ "action": "allow", "ports": [443] }] }', 'policy.json')
 * console.assert(rules.default === 'deny' && rules.rules.length === 1)
 * ```
 */
export function parsePolicyFile(content: string, file: string): PolicyRules {
  const text = new PolicyText(content, file)
  const errors: ParseError[] = []
  const root = parseTree(content, errors, { allowTrailingComma: true })
  const [first] = errors
  if (first) text.refuse(first.offset, `not valid JSON: ${printParseErrorCode(first.error)}.`)
  const fields = text.fields(root, 'the policy', ['$schema', 'default', 'presets', 'rules'])
  const fallback = fields.get('default')
  const presets = fields.get('presets')
  const list = fields.get('rules') ?? text.refuse(0, 'the policy has no "rules".')
  const chosen = presets
    ? text.list(presets, '"presets"').map((node) => text.oneOf(node, Object.keys(policyPresets)))
    : []
  const own = text.list(list, '"rules"').map((node, index) => readRule(text, node, index))
  const ownRules: PolicyRules = {
    ...(fallback && {
      default: text.oneOf(fallback, ['allow', 'deny']) === 'deny' ? 'deny' : 'allow',
    }),
    rules: own,
  }
  try {
    rulesPolicy(ownRules)
  } catch (error) {
    if (!(error instanceof PolicyRuleError) || !root) throw error
    const place: Place = error.path
    text.refuse(findNodeAtLocation(root, [...place])?.offset ?? 0, error.message)
  }
  const before = chosen.flatMap(
    (name): readonly PolicyRule[] => policyPresets[name as keyof typeof policyPresets],
  )
  return { ...ownRules, rules: [...before, ...own] }
}
