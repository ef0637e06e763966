/**
 * An honest ping: what a guest is told about a place is what the host's own `ping` is told, one hop further away; nothing is invented.
 *
 * ```
 *   guest ── TAP ── netkit ── ping (program) in the host's namespace ── 198.18.1.0/24 ── router ── 198.18.2.0/24 ── far
 * ```
 */

import { hostCommands, hostNetwork, hostPing, type HostCommands } from '@netkit/core/node'
import { createGuestNetwork, type GuestNetwork } from '@netkit/guestnet'
import {
  attachLinux,
  findProgram,
  netnsGuest,
  type LinuxGuest,
  type StartedGuest,
} from '@netkit/guests'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { cable, namespace, type Namespace } from './namespace.ts'
import { unless } from './skip-reason.ts'

/** iputils, in the guest as on the host: busybox's ping keeps errors to itself. */
const PING = '/usr/bin/ping'

const missing =
  inject('missingGuests').netns ??
  ((await findProgram('ping')) === undefined
    ? 'ping is not installed. To get it: apt-get install iputils-ping'
    : undefined)

/** Its message and code words, without who said it and when. */
function essence(output: string): string {
  const line = output.split('\n').find((each) => /^From |bytes from /.test(each)) ?? 'silence'
  return line.replace(/^From \S+ icmp_seq=\d+ /, '').replace(/ time=.*/, '')
}

describe('ping', unless(missing), () => {
  let places: Namespace[] = []
  let host: Namespace
  let network: GuestNetwork
  let started: StartedGuest
  let guest: LinuxGuest

  beforeAll(async () => {
    places = await Promise.all([namespace(), namespace(), namespace()])
    const [hostPlace, router, far] = places
    if (!hostPlace || !router || !far) throw new Error('There are no namespaces.')
    host = hostPlace
    await cable(
      { in: host, device: 'out', addresses: ['198.18.1.2/24', '2001:db8:1::2/64'] },
      { in: router, device: 'near', addresses: ['198.18.1.1/24', '2001:db8:1::1/64'] },
    )
    await cable(
      { in: router, device: 'beyond', addresses: ['198.18.2.1/24', '2001:db8:2::1/64'] },
      { in: far, device: 'back', addresses: ['198.18.2.2/24', '2001:db8:2::2/64'] },
    )
    await router.run(`
        echo 1 >/proc/sys/net/ipv4/ip_forward
        echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
        # Every request is answered: by default an error per second and destination.
        echo 0 >/proc/sys/net/ipv4/icmp_ratelimit
        ip route add prohibit 198.18.3.0/24
        ip route add unreachable 198.18.4.0/24
        ip route add blackhole 198.18.5.0/24`)
    await host.run(`
        ip route add 198.18.0.0/15 via 198.18.1.1
        ip route add 2001:db8::/32 via 2001:db8:1::1`)
    await far.run('ip route add default via 198.18.2.1; ip route add default via 2001:db8:2::1')

    const inHost: HostCommands = {
      ...hostCommands,
      run: (command, args, options) =>
        hostCommands.run('nsenter', ['-t', String(host.pid), '-n', command, ...args], options),
    }
    network = await createGuestNetwork({
      host: hostNetwork({ pinger: hostPing({ commands: inHost }) }),
      ipv6: 'on',
      dns: false,
    })
    guest = await netnsGuest()
    started = await attachLinux(guest, {
      attach: (link) => void network.attach(link, { name: 'guest' }),
    })
    await started.tools.lease()
    await started.tools.slaac?.()
  })
  afterAll(async () => {
    await started?.close()
    await network?.close()
    for (const place of places) await place[Symbol.asyncDispose]()
  })

  const guestPing = async (to: string, options = '-W 2'): Promise<string> =>
    (await guest.exec(`${PING} -n -c 1 ${options} ${to}`)).stdout
  const hostPingOf = (to: string): Promise<string> => host.run(`${PING} -n -c 1 -W 2 ${to} || true`)

  test.each([
    ['198.18.2.2', 63],
    ['2001:db8:2::2', 63],
  ])('%s answers: the guest sees the answer, and one hop more than the host', async (to, ttl) => {
    expect(essence(await hostPingOf(to))).toBe(`64 bytes from ${to}: icmp_seq=1 ttl=${ttl}`)
    expect(essence(await guestPing(to))).toBe(`64 bytes from ${to}: icmp_seq=1 ttl=${ttl - 1}`)
  })

  test.each([
    ['198.18.3.1', 'Packet filtered'],
    ['198.18.4.1', 'Destination Host Unreachable'],
    ['198.18.5.1', 'silence'],
  ])('%s: %s, for the guest as for the host', async (to, word) => {
    expect(essence(await hostPingOf(to))).toBe(word)
    expect(essence(await guestPing(to))).toBe(word)
  })

  test('where the host has no route, the guest is told that the network is unreachable', async () => {
    expect(essence(await guestPing('203.0.113.9'))).toBe('Destination Net Unreachable')
  })

  test.each(['198.18.2.2', '2001:db8:2::2'])(
    'each hop limit on the way to %s ends at another router: the gateway, then the host’s own',
    async (to) => {
      const hops = []
      for (const ttl of [1, 2, 3]) {
        const line = /^From (\S+) |bytes from (\S+):/m.exec(await guestPing(to, `-W 2 -t ${ttl}`))
        hops.push(line?.[1] ?? line?.[2])
      }
      const { address, address6 } = network.gateway
      expect(hops).toEqual(
        to.includes(':') ? [address6, '2001:db8:1::1', to] : [address, '198.18.1.1', to],
      )
    },
  )

  test('1400 bytes of data go and come back', async () => {
    expect(essence(await guestPing('198.18.2.2', '-W 2 -s 1400'))).toMatch(/^1408 bytes from/)
  })
})
