import { describe, expect, test, vi } from 'vitest'
import type { FlowRequest } from './egress-policy.ts'
import { addressScope } from './address-scope.ts'
import { canonicalAddress } from './address.ts'
import { policyPresets, rulesPolicy, type PolicyRule } from './policy-rules.ts'

function flow(
  to: string,
  port: number,
  more: { names?: string[]; guest?: string } = {},
): FlowRequest {
  return {
    protocol: 'tcp',
    to: { ip: to, port },
    ip: canonicalAddress(to),
    scope: addressScope(to),
    origin: { layer: 'tcpip', ...more },
  }
}

function closed(rules: readonly PolicyRule[], ip: string): boolean {
  return !rulesPolicy({ rules }).decide(flow(ip, 80)).allow
}

describe('a policy of ordered rules', () => {
  test('the first rule that matches decides, and the verdict names it', () => {
    const policy = rulesPolicy({
      rules: [
        { action: 'allow', name: 'the registry', to: ['10.1.2.3'], ports: [443] },
        { action: 'deny', to: ['10.0.0.0/8'] },
      ],
    })
    expect(policy.decide(flow('10.1.2.3', 443))).toMatchObject({
      allow: true,
      rule: 'the registry',
    })
    expect(policy.decide(flow('10.1.2.3', 80))).toMatchObject({ allow: false, rule: 'rule 2' })
    expect(policy.decide(flow('192.0.2.1', 80))).toMatchObject({ allow: true, rule: 'default' })
  })

  test('a default of deny denies what no rule allows', () => {
    const policy = rulesPolicy({
      default: 'deny',
      rules: [{ action: 'allow', ports: ['8000-8010'] }],
    })
    expect(policy.decide(flow('192.0.2.1', 8000)).allow).toBe(true)
    expect(policy.decide(flow('192.0.2.1', 8010)).allow).toBe(true)
    expect(policy.decide(flow('192.0.2.1', 8011))).toMatchObject({ allow: false, rule: 'default' })
  })

  test('an IPv4 address hidden in an IPv6 one is the same address', () => {
    const policy = rulesPolicy({ rules: [{ action: 'deny', to: ['10.0.0.0/8'] }] })
    expect(policy.decide(flow('::ffff:10.0.0.1', 80)).allow).toBe(false)
    expect(policy.decide(flow('64:ff9b::a00:1', 80)).allow).toBe(false)
  })

  test('a wildcard covers the names below, not the name itself', () => {
    const policy = rulesPolicy({
      default: 'deny',
      rules: [{ action: 'allow', names: ['*.example.com'] }],
    })
    expect(policy.decide(flow('192.0.2.1', 80, { names: ['A.Example.com.'] })).allow).toBe(true)
    expect(policy.decide(flow('192.0.2.1', 80, { names: ['example.com'] })).allow).toBe(false)
    expect(policy.decide(flow('192.0.2.1', 80, { names: ['badexample.com'] })).allow).toBe(false)
    expect(policy.decide(flow('192.0.2.1', 80)).allow).toBe(false)
  })

  test('a name alone opens public addresses only: rebinding it to the host network gains nothing', () => {
    const byName = { action: 'allow', names: ['evil.example'] } as const
    const policy = rulesPolicy({ default: 'deny', rules: [byName] })
    expect(policy.decide(flow('10.0.0.1', 80, { names: ['evil.example'] })).allow).toBe(false)
    expect(policy.decide(flow('127.0.0.1', 80, { names: ['evil.example'] })).allow).toBe(false)
    const told = rulesPolicy({ default: 'deny', rules: [{ ...byName, to: ['10.0.0.0/8'] }] })
    expect(told.decide(flow('10.0.0.1', 80, { names: ['evil.example'] })).allow).toBe(true)
  })

  test('a rule for one guest leaves the others alone', () => {
    const policy = rulesPolicy({ rules: [{ action: 'deny', guests: ['build'], reply: 'drop' }] })
    expect(policy.decide(flow('192.0.2.1', 80, { guest: 'build' }))).toMatchObject({
      allow: false,
      reply: 'drop',
    })
    expect(policy.decide(flow('192.0.2.1', 80, { guest: 'web' })).allow).toBe(true)
    expect(policy.decide(flow('192.0.2.1', 80)).allow).toBe(true)
  })

  test('presets close metadata services, private networks, everything', () => {
    expect(closed(policyPresets.noMetadata, '169.254.169.254')).toBe(true)
    expect(closed(policyPresets.noMetadata, '10.0.0.1')).toBe(false)
    expect(closed(policyPresets.noPrivate, '10.0.0.1')).toBe(true)
    expect(closed(policyPresets.noPrivate, '::1')).toBe(true)
    expect(closed(policyPresets.noPrivate, '93.184.216.34')).toBe(false)
    expect(closed(policyPresets.deny, '93.184.216.34')).toBe(true)
  })

  test.each([
    [{ to: ['10.0.0.0/33'] }, ['rules', 0, 'to', 0], 'neither an address'],
    [{ ports: [80, '90-80'] }, ['rules', 0, 'ports', 1], 'neither a port'],
    [{ names: ['a*b.example'] }, ['rules', 0, 'names', 0], 'neither a name'],
  ])('%o is refused at its place', (conditions, path, message) => {
    const make = () => rulesPolicy({ rules: [{ action: 'deny', ...conditions }] })
    expect(make).toThrow(message)
    expect(make).toThrow(expect.objectContaining({ code: 'NETKIT_POLICY_INVALID', path }))
  })

  test('replacing the rules tells the listeners; invalid rules change nothing', () => {
    const policy = rulesPolicy({ rules: [] })
    const changed = vi.fn<() => void>()
    const remove = policy.onChange(changed)
    policy.replace({ rules: policyPresets.deny })
    expect(changed).toHaveBeenCalledTimes(1)
    expect(policy.decide(flow('192.0.2.1', 80)).allow).toBe(false)
    expect(() => policy.replace({ rules: [{ action: 'allow', to: ['x'] }] })).toThrow(
      '"x" is neither',
    )
    expect(policy.decide(flow('192.0.2.1', 80)).allow).toBe(false)
    remove()
    policy.replace({ rules: [] })
    expect(changed).toHaveBeenCalledTimes(1)
  })
})
