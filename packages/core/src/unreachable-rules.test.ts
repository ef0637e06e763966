import { describe, expect, test } from 'vitest'
import { egressPresets } from './egress-rules.ts'
import type { EgressRule } from './egress-rules.ts'
import { unreachableRules } from './unreachable-rules.ts'

const deny = (conditions: Omit<EgressRule, 'action'> = {}): EgressRule => ({
  action: 'deny',
  ...conditions,
})
const allow = (conditions: Omit<EgressRule, 'action'> = {}): EgressRule => ({
  action: 'allow',
  ...conditions,
})

describe('a rule that can never match', () => {
  test.each([
    ['behind one without conditions', [deny(), allow({ ports: [443] })], 1, 0],
    [
      'in a block that was decided',
      [deny({ to: ['10.0.0.0/8'] }), allow({ to: ['10.1.0.0/16', '10.2.0.1'] })],
      1,
      0,
    ],
    ['in a range of ports', [deny({ ports: [[1, 1024]] }), allow({ ports: [22, [80, 90]] })], 1, 0],
    [
      'below a name',
      [allow({ names: ['*.example.com'] }), allow({ names: ['a.b.example.com'] })],
      1,
      0,
    ],
    [
      'of a guest that was decided',
      [deny({ guests: ['a', 'b'] }), allow({ guests: ['b'], protocol: 'udp' })],
      1,
      0,
    ],
    ['of a scope', [...egressPresets.noPrivate, allow({ scopes: ['private'], ports: [22] })], 1, 0],
    ['with an empty list', [allow({ to: [] })], 0, undefined],
    ['with ports of ICMP', [deny({ protocol: 'icmp', ports: [80] })], 0, undefined],
    [
      'whose block is in no such scope',
      [allow({ to: ['10.0.0.0/8'], scopes: ['public'] })],
      0,
      undefined,
    ],
  ] as const)('%s', (_what, rules, rule, by) => {
    expect(unreachableRules(rules)).toMatchObject([{ rule, by }])
  })

  test('is told with what decides in its stead', () => {
    expect(
      unreachableRules([...egressPresets.deny, allow({ names: ['a.example'] })])[0]?.reason,
    ).toBe("'deny' before it matches everything that it matches")
  })
})

test.each([
  [
    'a block of which only a part was decided',
    [deny({ to: ['10.0.0.0/16'] }), allow({ to: ['10.0.0.0/8'] })],
  ],
  ['another protocol', [deny({ protocol: 'udp' }), allow({ protocol: 'tcp' })]],
  ['a protocol of any', [deny({ protocol: 'udp', ports: [443] }), allow({ ports: [443] })]],
  [
    'addresses where names were asked for',
    [allow({ names: ['*.example'] }), allow({ to: ['203.0.113.0/24'] })],
  ],
  // By a name alone, public addresses are allowed; these are private.
  [
    'a private address of an allowed name',
    [allow({ names: ['a.example'] }), allow({ names: ['a.example'], to: ['10.0.0.1'] })],
  ],
  ['the host’s own addresses, wherever they are', [deny({ to: ['10.0.0.0/8'], scopes: ['host'] })]],
  [
    'the name itself, of which only what is below was decided',
    [deny({ names: ['*.a.example'] }), deny({ names: ['a.example'] })],
  ],
] as const)('%s can still match', (_what, rules) => {
  expect(unreachableRules(rules)).toEqual([])
})
