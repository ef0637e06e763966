import { describe, expect, test } from 'vitest'
import { fakeCommands } from './host-command.ts'
import type { CommandResult } from './host-command.ts'
import { hostPing } from './host-ping.ts'

/**
 * What the programs print. Constructed from the formats in the sources of iputils, busybox and BSD's ping and from Windows' known wording,
 * not recorded on such hosts; the lab runs iputils for real. `{}` is a program that ends without a word.
 */
const OUTPUT: readonly (readonly [
  name: string,
  platform: NodeJS.Platform,
  line: string,
  ip: string,
  result: Partial<CommandResult>,
  outcome: object,
])[] = [
  [
    'iputils, an answer',
    'linux',
    'ping -n -c 1 -W 10 -s 8 -t 3 127.0.0.1',
    '127.0.0.1',
    {
      stdout:
        'PING 127.0.0.1 (127.0.0.1) 8(36) bytes of data.\n16 bytes from 127.0.0.1: icmp_seq=1 ttl=64\n\n--- 127.0.0.1 ping statistics ---\n1 packets transmitted, 1 received, 0% packet loss, time 0ms\n',
    },
    { kind: 'reply', ttl: 64 },
  ],
  [
    'iputils, IPv6',
    'linux',
    'ping -6 -n -c 1 -W 10 -s 8 -t 3 ::1',
    '::1',
    {
      stdout:
        'PING ::1(::1) 8 data bytes\n16 bytes from ::1: icmp_seq=1 ttl=63 time=0.025 ms\n\n--- ::1 ping statistics ---\n',
    },
    { kind: 'reply', ttl: 63 },
  ],
  [
    'iputils, a router drops it for its TTL',
    'linux',
    'ping -n -c 1 -W 10 -s 8 -t 3 203.0.113.9',
    '203.0.113.9',
    { code: 1, stdout: 'From 10.1.0.1 icmp_seq=1 Time to live exceeded\n' },
    { kind: 'time-exceeded', from: '10.1.0.1' },
  ],
  [
    'iputils, a hop limit',
    'linux',
    'ping -6 -n -c 1 -W 10 -s 8 -t 3 2001:db8::9',
    '2001:db8::9',
    { code: 1, stdout: 'From fe80::1%eth0 icmp_seq=1 Time exceeded: Hop limit\n' },
    { kind: 'time-exceeded', from: 'fe80::1' },
  ],
  [
    'iputils, nobody there',
    'linux',
    'ping -n -c 1 -W 10 -s 8 -t 3 203.0.113.9',
    '203.0.113.9',
    { code: 1, stdout: 'From 10.1.0.1 icmp_seq=1 Destination Host Unreachable\n' },
    { kind: 'unreachable', code: 1, from: '10.1.0.1' },
  ],
  [
    'iputils, no route, IPv6',
    'linux',
    'ping -6 -n -c 1 -W 10 -s 8 -t 3 2001:db8::9',
    '2001:db8::9',
    { code: 1, stdout: 'From fd00::2 icmp_seq=1 Destination unreachable: No route\n' },
    { kind: 'unreachable', code: 0, from: 'fd00::2' },
  ],
  [
    'iputils, a filter',
    'linux',
    'ping -n -c 1 -W 10 -s 8 -t 3 203.0.113.9',
    '203.0.113.9',
    { code: 1, stdout: 'From 10.1.0.1 icmp_seq=1 Packet filtered\n' },
    { kind: 'unreachable', code: 13, from: '10.1.0.1' },
  ],
  [
    'iputils, silence',
    'linux',
    'ping -n -c 1 -W 10 -s 8 -t 3 203.0.113.9',
    '203.0.113.9',
    {
      code: 1,
      stdout:
        '--- 203.0.113.9 ping statistics ---\n1 packets transmitted, 0 received, 100% packet loss, time 0ms\n',
    },
    { kind: 'silence' },
  ],
  [
    'busybox, an answer',
    'linux',
    'ping -n -c 1 -W 10 -s 8 -t 3 203.0.113.9',
    '203.0.113.9',
    { stdout: '16 bytes from 203.0.113.9: seq=0 ttl=51 time=0.036 ms\n' },
    { kind: 'reply', ttl: 51 },
  ],
  [
    'macOS, an answer',
    'darwin',
    'ping -n -c 1 -t 10 -s 8 -m 3 203.0.113.9',
    '203.0.113.9',
    { stdout: '16 bytes from 203.0.113.9: icmp_seq=0 ttl=57 time=9.9 ms\n' },
    { kind: 'reply', ttl: 57 },
  ],
  [
    'macOS, IPv6',
    'darwin',
    'ping6 -n -c 1 -s 8 -h 3 2001:db8::9',
    '2001:db8::9',
    { stdout: '16 bytes from 2001:db8::9, icmp_seq=0 hlim=55 time=1.0 ms\n' },
    { kind: 'reply', ttl: 55 },
  ],
  [
    'macOS, a router drops it',
    'darwin',
    'ping -n -c 1 -t 10 -s 8 -m 3 203.0.113.9',
    '203.0.113.9',
    {
      code: 2,
      stdout: '36 bytes from 10.1.0.1: Time to live exceeded\nRequest timeout for icmp_seq 0\n',
    },
    { kind: 'time-exceeded', from: '10.1.0.1' },
  ],
  [
    'Windows, an answer',
    'win32',
    'ping -n 1 -w 10000 -l 8 -i 3 203.0.113.9',
    '203.0.113.9',
    { stdout: '\r\nReply from 203.0.113.9: bytes=8 time=9ms TTL=57\r\n' },
    { kind: 'reply', ttl: 57 },
  ],
  [
    'Windows in German, an answer',
    'win32',
    'ping -n 1 -w 10000 -l 8 -i 3 203.0.113.9',
    '203.0.113.9',
    { stdout: '\r\nAntwort von 203.0.113.9: Bytes=8 Zeit=9ms TTL=57\r\n' },
    { kind: 'reply', ttl: 57 },
  ],
  [
    'Windows, IPv6',
    'win32',
    'ping -n 1 -w 10000 -l 8 -i 3 ::1',
    '::1',
    { stdout: '\r\nReply from ::1: time<1ms \r\n' },
    { kind: 'reply', ttl: undefined },
  ],
  [
    'Windows, a router drops it',
    'win32',
    'ping -n 1 -w 10000 -l 8 -i 3 203.0.113.9',
    '203.0.113.9',
    { stdout: 'Reply from 10.1.0.1: TTL expired in transit.\r\n' },
    { kind: 'time-exceeded', from: '10.1.0.1' },
  ],
]

describe('the host’s ping program', () => {
  test.each(OUTPUT)('%s', async (_name, platform, line, ip, result, outcome) => {
    const commands = fakeCommands({ [line]: result })
    expect(await hostPing({ commands, platform }).ping(ip, { ttl: 3, bytes: 8 })).toEqual(outcome)
  })

  test.each([
    ['ping: connect: Network is unreachable', 'ENETUNREACH'],
    ['ping: sendto: No route to host', 'EHOSTUNREACH'],
    ['ping: socktype: SOCK_RAW: Operation not permitted', 'EPERM'],
  ])('%s: rejects with %s', async (stderr, code) => {
    const commands = fakeCommands({
      'ping -n -c 1 -W 10 -s 56 -t 64 203.0.113.9': { code: 2, stderr },
    })
    const pinger = hostPing({ commands, platform: 'linux' })
    await expect(pinger.ping('203.0.113.9')).rejects.toMatchObject({ code, address: '203.0.113.9' })
  })

  test('what is no address is no argument', async () => {
    const commands = fakeCommands({})
    const pinger = hostPing({ commands, platform: 'linux' })
    await expect(pinger.ping('-f')).rejects.toThrow("'-f' is not an IP address")
    expect(commands.calls).toEqual([])
  })

  test('without the program: not supported, and why', async () => {
    const pinger = hostPing({ commands: fakeCommands({}), platform: 'linux' })
    await expect(pinger.ping('203.0.113.9')).rejects.toThrow(
      "ping ENOTSUP 203.0.113.9: the host has no 'ping' program",
    )
  })
})
