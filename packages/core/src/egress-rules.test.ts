import { describe, expect, test } from 'vitest'
import { egressPolicyCompliance } from './compliance/index.ts'
import { addressScope } from './address-scope.ts'
import { canonicalAddress } from './address.ts'
import type { FlowOrigin, FlowRequest } from './egress-policy.ts'
import { egressPresets, egressRules } from './egress-rules.ts'
import type { EgressRule } from './egress-rules.ts'

function flow(ip: string, port: number, origin: Partial<FlowOrigin> = {}): FlowRequest {
  return {
    protocol: 'tcp',
    to: { ip, port },
    ip: canonicalAddress(ip),
    scope: addressScope(ip),
    origin: { layer: 'tcpip', guest: 'vm1', ...origin },
  }
}

const reachable = (rules: readonly EgressRule[]): string[] =>
  ['203.0.113.1', '10.0.0.1', '169.254.169.254', '127.0.0.1'].filter(
    (ip) => egressRules(rules).decide(flow(ip, 80)).allow,
  )

describe('egressRules', () => {
  test('the first rule that matches decides, the fallback what none matches', () => {
    const policy = egressRules(
      [
        { action: 'allow', name: 'dns', to: ['1.1.1.0/24'], ports: [53, [800, 900]] },
        { action: 'deny', to: ['1.0.0.0/8'], reason: 'closed', reply: 'drop' },
      ],
      { fallback: 'allow' },
    )
    expect(policy.decide(flow('1.1.1.1', 53))).toMatchObject({ allow: true, rule: 'dns' })
    expect(policy.decide(flow('1.1.1.1', 850))).toMatchObject({ allow: true, rule: 'dns' })
    expect(policy.decide(flow('1.1.1.1', 54))).toEqual({
      allow: false,
      rule: 'rule 2',
      reason: 'closed',
      reply: 'drop',
    })
    expect(policy.decide(flow('9.9.9.9', 54))).toMatchObject({ allow: true, rule: 'fallback' })
  })

  test('a permitted name that resolves to a private address or to metadata opens nothing', () => {
    const policy = egressRules([{ action: 'allow', names: ['*.example'] }], { fallback: 'deny' })
    const names = ['cdn.example']
    expect(policy.decide(flow('203.0.113.1', 443, { names })).allow).toBe(true)
    for (const ip of ['10.0.0.1', '169.254.169.254', '127.0.0.1', 'fe80::1', '64:ff9b::a00:1']) {
      expect(policy.decide(flow(ip, 443, { names })).allow).toBe(false)
    }
    const company = egressRules(
      [{ action: 'allow', names: ['*.corp.example'], scopes: ['public', 'private'] }],
      { fallback: 'deny' },
    )
    expect(company.decide(flow('10.0.0.1', 443, { names: ['git.corp.example'] })).allow).toBe(true)
    expect(company.decide(flow('127.0.0.1', 443, { names: ['git.corp.example'] })).allow).toBe(
      false,
    )
  })

  test('a denied name is denied wherever it leads', () => {
    const policy = egressRules([{ action: 'deny', names: ['ads.example'] }])
    expect(policy.decide(flow('10.0.0.1', 443, { names: ['ads.example'] })).allow).toBe(false)
  })

  test.each([
    ['www.example', 'www.example', true],
    ['www.example', 'WWW.Example.', true],
    ['www.example', 'a.www.example', false],
    ['*.example', 'a.b.example', true],
    ['*.example', 'example', false],
    ['*.example', 'badexample', false],
  ])('pattern %s and name %s: %s', (pattern, name, allowed) => {
    const policy = egressRules([{ action: 'allow', names: [pattern] }], { fallback: 'deny' })
    expect(policy.decide(flow('203.0.113.1', 443, { names: [name] })).allow).toBe(allowed)
  })

  test('guests and protocols are told apart', () => {
    const policy = egressRules([{ action: 'allow', guests: ['vm2'], protocol: 'tcp' }], {
      fallback: 'deny',
    })
    expect(policy.decide(flow('203.0.113.1', 80)).allow).toBe(false)
    expect(policy.decide(flow('203.0.113.1', 80, { guest: 'vm2' })).allow).toBe(true)
    expect(
      policy.decide({ ...flow('203.0.113.1', 80, { guest: 'vm2' }), protocol: 'udp' }).allow,
    ).toBe(false)
  })

  test("what the host's configuration chose is allowed", () => {
    const policy = egressRules(egressPresets.deny)
    expect(policy.decide(flow('10.0.0.53', 53)).allow).toBe(false)
    expect(policy.decide(flow('10.0.0.53', 53, { chosenBy: 'host' })).allow).toBe(true)
  })

  test('presets do what their names say', () => {
    expect(reachable(egressPresets.noMetadata)).toEqual(['203.0.113.1', '10.0.0.1', '127.0.0.1'])
    expect(reachable(egressPresets.noPrivate)).toEqual(['203.0.113.1'])
    expect(reachable(egressPresets.deny)).toEqual([])
  })

  test.each([
    [{ action: 'permit' }, "rule 2, field 'action'"],
    [{ action: 'deny', to: ['10/8'] }, "rule 2, field 'to': '10/8' is not a block"],
    [{ action: 'deny', ports: [70_000] }, "rule 2, field 'ports': 70000"],
    [{ action: 'deny', ports: [[9, 1]] }, "rule 2, field 'ports': [9,1]"],
    [{ action: 'deny', names: ['*'] }, "rule 2, field 'names': '*'"],
    [{ action: 'deny', names: ['http://a'] }, "rule 2, field 'names'"],
  ])('%j is refused with its place and field', (rule, message) => {
    expect(() => egressRules([{ action: 'allow' }, rule as unknown as EgressRule])).toThrow(
      expect.objectContaining({
        code: 'NETKIT_POLICY_INVALID',
        message: expect.stringContaining(message) as string,
      }),
    )
  })

  test('rules that cannot be read leave the old ones in force', () => {
    const policy = egressRules(egressPresets.deny)
    let changes = 0
    const stop = policy.onChange(() => changes++)
    expect(() => policy.replace([{ action: 'allow', to: ['x'] }])).toThrow('x')
    expect(policy.decide(flow('203.0.113.1', 80)).allow).toBe(false)
    expect(changes).toBe(0)
    policy.replace([])
    stop()
    policy.replace([])
    expect(changes).toBe(1)
  })
})

egressPolicyCompliance(
  { describe, test },
  {
    name: 'egress rules',
    setup() {
      const policy = egressRules(egressPresets.noPrivate)
      return {
        policy,
        allowed: [flow('203.0.113.1', 443)],
        denied: [flow('10.0.0.1', 22), flow('169.254.169.254', 80)],
        revoke: () => policy.replace(egressPresets.deny),
      }
    },
  },
)
