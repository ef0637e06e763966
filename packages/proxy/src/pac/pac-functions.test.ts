import { describe, expect, test } from 'vitest'
import { pacFunctions } from './pac-functions.ts'

const names = new Map([
  ['www.example', ['2001:db8::1', '198.18.0.7']],
  ['six.example', ['2001:db8::6']],
])
// A Saturday.
const at = (time: string) => new Date(`2026-02-28T${time}Z`)
const call = (name: string, args: readonly unknown[], now = at('22:30:15')) => {
  const functions = pacFunctions({
    resolve: (host) => names.get(host) ?? [],
    addresses: ['2001:db8::99', '192.0.2.9'],
    now: () => now,
  })
  return functions[name]?.(...args)
}

// Most rows are the examples of Netscape's description of the format.
test.each<[string, readonly unknown[], unknown]>([
  ['isPlainHostName', ['www'], true],
  ['isPlainHostName', ['www.example'], false],
  ['dnsDomainIs', ['www.Example', '.example'], true],
  ['dnsDomainIs', ['www', '.example'], false],
  ['localHostOrDomainIs', ['www', 'www.example'], true],
  ['localHostOrDomainIs', ['home.example', 'www.example'], false],
  ['isResolvable', ['www.example'], true],
  ['isResolvable', ['six.example'], false],
  ['isResolvableEx', ['six.example'], true],
  ['isInNet', ['198.18.249.79', '198.18.249.79', '255.255.255.255'], true],
  ['isInNet', ['www.example', '198.18.0.0', '255.255.0.0'], true],
  ['isInNet', ['no.example', '198.18.0.0', '255.255.0.0'], false],
  ['isInNet', ['www.example', 'nonsense', '255.255.0.0'], false],
  ['isInNetEx', ['six.example', '2001:db8::/32'], true],
  ['isInNetEx', ['198.18.0.1', '198.18.0.0/16'], true],
  ['isInNetEx', ['198.18.0.1', 'nonsense'], false],
  ['dnsResolve', ['www.example'], '198.18.0.7'],
  ['dnsResolve', ['no.example'], null],
  ['dnsResolveEx', ['www.example'], '2001:db8::1;198.18.0.7'],
  ['myIpAddress', [], '192.0.2.9'],
  ['myIpAddressEx', [], '2001:db8::99;192.0.2.9'],
  ['sortIpAddressList', ['198.18.0.7; 2001:db8::1'], '2001:db8::1;198.18.0.7'],
  [
    'sortIpAddressList',
    ['198.18.0.7;9.0.0.1;2001:db8::2;2001:db8::1'],
    '2001:db8::1;2001:db8::2;9.0.0.1;198.18.0.7',
  ],
  ['sortIpAddressList', ['x'], ''],
  ['convert_addr', ['104.16.41.2'], 1_745_889_538],
  ['dnsDomainLevels', ['www.example'], 1],
  ['shExpMatch', ['http://home.example/people/ari/index.html', '*/ari/*'], true],
  ['shExpMatch', ['http://home.example/people/montulli/index.html', '*/ari/*'], false],
  ['shExpMatch', ['a.b', 'a?b'], true],
  ['shExpMatch', ['', '*'], true],
  ['weekdayRange', ['SAT', 'GMT'], true],
  ['weekdayRange', ['MON', 'FRI', 'GMT'], false],
  ['weekdayRange', ['FRI', 'MON', 'GMT'], true],
  ['weekdayRange', ['nonsense'], false],
  ['dateRange', [28, 'GMT'], true],
  ['dateRange', ['FEB', 'GMT'], true],
  ['dateRange', [2025, 2026, 'GMT'], true],
  ['dateRange', ['NOV', 'MAR', 'GMT'], true],
  ['dateRange', [1, 'MAR', 31, 'AUG', 'GMT'], false],
  ['dateRange', [24, 'DEC', 2025, 28, 'FEB', 2026, 'GMT'], true],
  ['dateRange', ['FEB', 3, 'GMT'], false],
  ['timeRange', [22, 'GMT'], true],
  ['timeRange', [23, 'GMT'], false],
  ['timeRange', [20, 2, 'GMT'], true],
  ['timeRange', [8, 30, 17, 0, 'GMT'], false],
  ['timeRange', [22, 30, 0, 22, 30, 30, 'GMT'], true],
  ['timeRange', ['noon', 'GMT'], false],
  ['alert', ['x'], null],
])('%s(%j) is %j', (name, args, wanted) => {
  expect(call(name, args)).toBe(wanted)
})

describe('what scripts pass by mistake', () => {
  const all = Object.keys(
    pacFunctions({ resolve: () => [], addresses: [], now: () => at('00:00:00') }),
  )
  test.each(all)('%s takes nothing, numbers and objects', (name) => {
    for (const args of [[], [null], [{}, []], [7, Number.NaN, -1]]) {
      expect(['boolean', 'string', 'number', 'object']).toContain(typeof call(name, args))
    }
  })
})

test('a pattern of stars is not slow', () => {
  expect(call('shExpMatch', ['a'.repeat(2000), `${'*a'.repeat(500)}b`])).toBe(false)
})
