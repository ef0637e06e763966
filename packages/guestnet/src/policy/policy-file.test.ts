import { readFileSync } from 'node:fs'
import { egressPresets } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { parsePolicyFile } from './policy-file.ts'

describe('the policy file', () => {
  test('comments and trailing commas are allowed, presets come before the own rules', () => {
    const rules = parsePolicyFile(
      '{\n  // the cloud\n  "presets": ["noMetadata"],\n  "default": "deny",\n  "rules": [{ "action": "allow", "names": ["*.example.com"], "ports": [443, "8000-8010"] },],\n}',
      'policy.json',
    )
    expect(rules).toEqual({
      fallback: 'deny',
      rules: [
        ...egressPresets.noMetadata,
        { action: 'allow', names: ['*.example.com'], ports: [443, [8000, 8010]] },
      ],
    })
  })

  test.each([
    ['{', 'p.json:1:2: not valid JSON: CloseBraceExpected.'],
    ['[]', 'p.json:1:1: the policy is not an object.'],
    ['{}', 'p.json:1:1: the policy has no "rules".'],
    ['{\n "rules": 3 }', 'p.json:2:11: "rules" is not a list.'],
    ['{ "rules": [],\n "rule": [] }', 'p.json:2:2: the policy has no field "rule".'],
    ['{ "rules": [\n  {}] }', 'p.json:2:3: rule 1 has no "action": allow or deny.'],
    ['{ "rules": [\n  {"action": "permit"}] }', 'p.json:2:14: "permit" is none of allow, deny.'],
    [
      '{ "rules": [\n  {"action": "deny",\n "to": ["10.0.0.0/40"]}] }',
      "p.json:3:8: Egress rule 1, field 'to': ",
    ],
    [
      '{ "rules": [\n  {"action": "deny",\n "ports": [1, 99999]}] }',
      "p.json:3:11: Egress rule 1, field 'ports': 99999 is neither a port",
    ],
    ['{ "rules": [\n  {"action": "deny",\n "names": [7]}] }', 'p.json:3:12: 7 is not a text.'],
    ['{ "rules": [{"action": "deny", "protocol": "sctp"}] }', '"sctp" is none of tcp, udp, icmp.'],
    ['{ "rules": [{"action": "deny", "scopes": ["lan"]}] }', '"lan" is none of loopback, host'],
    ['{ "rules": [{"action": "deny", "ports": ["90-"]}] }', '"90-" is neither a port nor a range'],
    [
      '{ "presets": ["deny"], "rules": [\n  {"action": "allow", "names": ["a.example"]}] }',
      "p.json:2:3: rule 1 can never match: 'deny' before it matches everything that it matches.",
    ],
    [
      '{ "rules": [{"action": "allow", "to": ["10.0.0.0/8"]},\n  {"action": "deny", "to": ["10.0.0.1"]}] }',
      "p.json:2:3: rule 2 can never match: 'rule 1' before it",
    ],
    [
      '{ "rules": [\n  {"action": "deny", "to": []}] }',
      "p.json:2:3: rule 1 can never match: its list 'to' is empty",
    ],
    ['{ "presets": ["noMeta"], "rules": [] }', '"noMeta" is none of noMetadata, noPrivate, deny.'],
  ])('%s is refused with its line', (content, message) => {
    expect(() => parsePolicyFile(content, 'p.json')).toThrow(message)
  })

  test('the schema names the same fields as the parser', () => {
    const schema = JSON.parse(
      readFileSync(new URL('../../policy.schema.json', import.meta.url), 'utf8'),
    ) as {
      properties: { rules: { items: { properties: Record<string, unknown> } } }
    }
    for (const field of Object.keys(schema.properties.rules.items.properties)) {
      const content = `{ "rules": [{ "action": "deny", "${field}": {} }] }`
      expect(() => parsePolicyFile(content, 'p.json')).not.toThrow('has no field')
      expect(() => parsePolicyFile(content, 'p.json')).toThrow(/^p\.json:/)
    }
  })
})
