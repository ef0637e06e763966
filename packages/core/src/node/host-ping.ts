/**
 * Echo requests by the host's own `ping` program: Node has no ICMP socket, and the program may what an unprivileged process may not.
 *
 * One process per request, told in numbers only (`-n`). Its answer is read from what it prints: iputils and busybox on Linux, the BSD
 * programs on macOS, ping.exe on Windows. What is not understood counts as silence, never as an answer.
 */

import { ipFamily, normalizeIp } from '../address.ts'
import { errorCode, socketError } from '../errors.ts'
import type { PingOptions, PingOutcome, Pinger } from '../pinger.ts'
import { hostCommands } from './host-command.ts'
import type { CommandResult, HostCommands } from './host-command.ts'
import { PING_WAIT_S } from './limits.ts'

/** Options of `hostPing`. */
export interface HostPingOptions {
  /** Default the host's own programs. */
  commands?: HostCommands
  /** Default `process.platform`. */
  platform?: NodeJS.Platform
}

const DEFAULT_BYTES = 56
const DEFAULT_TTL = 64
/** Codes of ICMPv4's "destination unreachable". */
const CODE = { net: 0, host: 1, protocol: 2, port: 3, prohibited: 13 } as const

/** What routers and hosts are quoted with; the first that fits. */
const REFUSALS: readonly (readonly [RegExp, PingOutcome['kind'], number])[] = [
  [/time to live exceeded|time exceeded|ttl expired/i, 'time-exceeded', 0],
  [/packet filtered|prohibited|administratively/i, 'unreachable', CODE.prohibited],
  [/destination (?:host|unreachable: address)/i, 'unreachable', CODE.host],
  [/destination (?:net|unreachable: no route)/i, 'unreachable', CODE.net],
  [/destination protocol/i, 'unreachable', CODE.protocol],
  [/destination (?:port|unreachable: port)/i, 'unreachable', CODE.port],
]

/** What the program says on its own about sending. */
const ERRORS: readonly (readonly [RegExp, Parameters<typeof socketError>[0]])[] = [
  [
    /network is (?:unreachable|down)|cannot assign requested address|address family/i,
    'ENETUNREACH',
  ],
  [/no route to host/i, 'EHOSTUNREACH'],
  [/operation not permitted|permission denied/i, 'EPERM'],
]

/**
 * Pings by the host's program.
 *
 * @example
 * ```ts
 * import { fakeCommands, hostPing } from '@netkit/core/node'
 *
 * const commands = fakeCommands({
 *   'ping -n -c 1 -W 10 -s 56 -t 64 192.0.2.1': '64 bytes from 192.0.2.1: icmp_seq=1 ttl=57 time=9.1 ms',
 * })
 * const outcome = await hostPing({ commands, platform: 'linux' }).ping('192.0.2.1')
 * console.assert(outcome.kind === 'reply' && outcome.ttl === 57)
 * ```
 */
export function hostPing(options: HostPingOptions = {}): Pinger {
  const { commands = hostCommands, platform = process.platform } = options
  return {
    async ping(address, request = {}) {
      // Nothing but an address becomes an argument.
      const ip = normalizeIp(address)
      const { program, args } = commandLine(platform, ip, request)
      const { signal } = request
      let result: CommandResult
      try {
        result = await commands.run(program, args, signal ? { signal } : {})
      } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw error
        throw socketError('ENOTSUP', {
          syscall: 'ping',
          address: ip,
          reason: `the host has no '${program}' program, which sends what Node cannot`,
          cause: error,
        })
      }
      return readOutcome(ip, result)
    },
  }
}

function commandLine(
  platform: NodeJS.Platform,
  ip: string,
  { ttl = DEFAULT_TTL, bytes = DEFAULT_BYTES }: PingOptions,
): { program: string; args: string[] } {
  const is6 = ipFamily(ip) === 6
  const size = String(bytes)
  const hops = String(ttl)
  if (platform === 'win32') {
    const wait = String(PING_WAIT_S * 1000)
    return { program: 'ping', args: ['-n', '1', '-w', wait, '-l', size, '-i', hops, ip] }
  }
  if (platform === 'darwin') {
    // There `-t` ends the program and `-m` is the TTL; ping6 ends ten seconds after its last request by itself.
    return is6
      ? { program: 'ping6', args: ['-n', '-c', '1', '-s', size, '-h', hops, ip] }
      : {
          program: 'ping',
          args: ['-n', '-c', '1', '-t', String(PING_WAIT_S), '-s', size, '-m', hops, ip],
        }
  }
  const family = is6 ? ['-6'] : []
  const wait = String(PING_WAIT_S)
  return {
    program: 'ping',
    args: [...family, '-n', '-c', '1', '-W', wait, '-s', size, '-t', hops, ip],
  }
}

function readOutcome(ip: string, { stdout, stderr }: CommandResult): PingOutcome {
  for (const line of stdout.split('\n')) {
    const from = /\bfrom ([\da-f.:]+?)(?:%\w+)?:? /i.exec(line)?.[1]
    for (const [text, kind, code] of REFUSALS) {
      if (!text.test(line)) continue
      return kind === 'time-exceeded' ? { kind, from } : { kind: 'unreachable', code, from }
    }
    const ttl = /\b(?:ttl|hlim)=(\d+)/i.exec(line)?.[1]
    // Windows does not tell the hop limit of IPv6.
    if (ttl !== undefined || /\btime[=<]\d/i.test(line))
      return { kind: 'reply', ttl: ttl === undefined ? undefined : Number(ttl) }
  }
  for (const [text, code] of ERRORS) {
    if (text.test(stderr))
      throw socketError(code, { syscall: 'ping', address: ip, reason: stderr.trim() })
  }
  return { kind: 'silence' }
}
