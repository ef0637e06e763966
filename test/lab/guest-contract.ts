/**
 * What every guest gets from a netkit network, asked of a real one. One suite for every kind of guest; each TCP and UDP test takes
 * the address family, so that another family is one more entry in `families`.
 */

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Cidr } from '@netkit/core'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import {
  bulkBytesFor,
  hostServices,
  ownName,
  patternDigest,
  refusedPort,
  startGuest,
  takeTour,
  type Family,
  type GuestKind,
  type GuestTools,
  type Lease,
  type LinuxGuest,
  type Service,
  type StartedGuest,
} from '@netkit/guests'
import {
  CLEAN_LINK_COUNTERS,
  kernelCounters,
  RECOVERY_COUNTERS,
  withoutLossProbes,
  type KernelCounters,
} from './kernel-counters.ts'
import { labNetwork, SEARCH_DOMAIN, type LabNetwork } from './lab-network.ts'
import { captureFrames, frameFaults, segmentOrder } from './packet-checks.ts'
import { unless } from './skip-reason.ts'

/** What is tested. */
export interface GuestContractOptions {
  readonly kind: GuestKind
  /** Largest IP packet of the link. Default 1500. */
  readonly mtu?: number
  /** Default IPv4. */
  readonly families?: readonly Family[]
}

const MEGABYTE = 1 << 20
const CONNECTIONS = 200

/** Both ends' retransmission timeouts are 200 ms or more; timers and samples are not exact. */
const STANDSTILL_MS = 150

/** Bytes of a bulk transfer. The emulator hashes a megabyte in a second, and does so three times here. */
const contractBytes = (kind: GuestKind): number =>
  kind === 'v86' ? bulkBytesFor(kind) / 2 : bulkBytesFor(kind)

/** Registers the suite, or names what it would have tested. */
export function guestContract({
  kind,
  mtu = 1500,
  families = ['ipv4'],
}: GuestContractOptions): void {
  const missing = inject('missingGuests')[kind]
  const hasIproute2 = kind === 'netns' || kind === 'qemu'
  describe(`a ${kind} guest with MTU ${mtu}`, unless(missing), () => {
    let network: LabNetwork
    let guest: StartedGuest
    let tools: GuestTools
    let lease: Lease
    let before: KernelCounters | undefined
    /** The longest time for which this process, the network at the cable's other end, was not scheduled. */
    const delay = monitorEventLoopDelay({ resolution: 10 })
    const longestStandstillMs = (): number => delay.max / 1e6

    const linux = (): LinuxGuest => {
      if (guest.linux === undefined) throw new Error('This guest has no kernel.')
      return guest.linux
    }

    beforeAll(async () => {
      delay.enable()
      network = await labNetwork({ ipv6: families.includes('ipv6') ? 'on' : 'off' })
      guest = await startGuest(kind, { mtu, attach: (link) => network.attach(link) })
      tools = guest.tools
      if (guest.linux) {
        await withoutLossProbes(guest.linux)
        before = await kernelCounters(guest.linux)
      }
      lease = await tools.lease()
    })
    afterAll(async () => {
      delay.disable()
      await guest?.close()
      await network?.close()
    })

    describe('addresses and names', () => {
      test('DHCP: an address of the subnet, the gateway as router, server and resolver', () => {
        const prefix = network.gateway.split('.').slice(0, 3).join('.')
        expect(lease.ip.startsWith(`${prefix}.`)).toBe(true)
        expect([network.gateway, network.hostAlias]).not.toContain(lease.ip)
        expect(lease).toMatchObject({
          prefix: 24,
          router: network.gateway,
          serverId: network.gateway,
          dns: [network.gateway],
        })
      })

      test('DHCP: the lease lasts, the MTU is the link’s, the search list arrives', () => {
        expect(lease.seconds).toBeGreaterThanOrEqual(600)
        expect(lease.mtu).toBe(mtu)
        expect(lease.search).toContain(SEARCH_DOMAIN)
      })

      test('DHCP: asking again gives the same address', async () => {
        expect(await tools.lease()).toMatchObject({ ip: lease.ip })
      })

      test('ARP names the gateway’s MAC, and ping is answered', async () => {
        const { mac } = network.composition.gateway
        expect(await tools.neighbour(network.gateway)).toBe(mac)
        expect(await tools.ping(network.gateway, 3)).toEqual({ sent: 3, received: 3 })
      })

      test('DNS: the host’s names, the host’s own resolver, and a name that does not exist', async () => {
        expect(await tools.resolve('host.docker.internal')).toEqual([network.hostAlias])
        expect(await tools.resolve('gateway.docker.internal')).toEqual([network.gateway])
        const own = await ownName(network.hostAlias)
        expect(await tools.resolve(own.name)).toEqual(expect.arrayContaining([...own.addresses]))
        expect(await tools.resolve('nobody.invalid')).toEqual([])
      })
    })

    describe(
      'IPv6 by itself',
      unless(families.includes('ipv6') ? undefined : 'this guest is not given IPv6'),
      () => {
        test('SLAAC: an address of the prefix, the gateway’s link-local address as router', async () => {
          const { addresses, router } = (await tools.slaac?.()) ?? { addresses: [], router: '' }
          const prefix = Cidr.parse(`${network.composition.gateway.address6}/64`)
          expect(addresses.filter((address) => prefix.contains(address)).length).toBeGreaterThan(0)
          expect(await tools.neighbour(router)).toBe(network.composition.gateway.mac)
        })

        test('NDP names the gateway’s MAC, and ping is answered', async () => {
          const { mac, address6 = '' } = network.composition.gateway
          expect(await tools.neighbour(address6)).toBe(mac)
          expect(await tools.ping(address6, 3)).toEqual({ sent: 3, received: 3 })
          // The guest has spoken from the address that it made for itself, so the network knows whose it is.
          const prefix = Cidr.parse(`${address6}/64`)
          const known = network.composition.guests.get('guest')?.addresses() ?? []
          expect(known.filter((address) => prefix.contains(address)).length).toBeGreaterThan(0)
        })
      },
    )

    describe.each(families)('TCP and UDP over %s', (family) => {
      /** Where the guest finds a service on the host's loopback. */
      const on = (port: number): Service => {
        const { hostAlias = '', hostAlias6 = '' } = network.composition.gateway
        return { host: family === 'ipv4' ? hostAlias : hostAlias6, port }
      }

      test('HTTP: 1 MB arrives as it was sent', async () => {
        await using service = await hostServices.http(family)
        const { bytes, sha256 } = await tools.download(on(service.port), `/bytes/${MEGABYTE}`)
        expect({ bytes, sha256 }).toEqual({ bytes: MEGABYTE, sha256: patternDigest(MEGABYTE) })
      })

      test('a reader slower than the sender gets every byte', async () => {
        const length = contractBytes(kind)
        await using service = await hostServices.source(family, length)
        const { bytes, sha256 } = await tools.readSlowly(on(service.port))
        expect({ bytes, sha256 }).toEqual({ bytes: length, sha256: patternDigest(length) })
      })

      test('upload: the host gets every byte, and answers after the guest’s end of file', async () => {
        const length = contractBytes(kind)
        await using service = await hostServices.digest(family)
        const { sent, answer } = await tools.upload(on(service.port), length)
        expect(sent.bytes).toBe(length)
        expect(answer).toBe(`${length} ${sent.sha256}`)
      })

      test('half-close by the host: the guest answers after the host’s end of file', async () => {
        await using service = await hostServices.farewell(family, 'that was all')
        const { received } = await tools.answerAfterEnd(on(service.port), 'one more thing')
        expect(received).toBe('that was all')
        expect(await service.next()).toMatchObject({ received: 'one more thing', end: 'end' })
      })

      test('reset by the host in mid-flow: the guest sees a reset, not an end of file', async () => {
        await using service = await hostServices.resetAfterLine(family, MEGABYTE)
        const { bytes, end } = await tools.readToEnd(on(service.port), 'go')
        expect(end).toBe('reset')
        expect(bytes).toBeLessThanOrEqual(MEGABYTE)
      })

      test('reset by the guest in mid-flow: the host sees a reset', async () => {
        await using service = await hostServices.endless(family)
        await tools.abandon(on(service.port))
        expect((await service.next()).end).toMatch(/^(ECONNRESET|EPIPE)$/)
      })

      test('a port nobody listens on refuses', async () => {
        expect(await tools.connect(on(await refusedPort(family)))).toBe('refused')
      })

      test(`${CONNECTIONS} connections are open at the same time, and each is its own`, async () => {
        await using service = await hostServices.echo(family)
        expect(await tools.parallelEcho(on(service.port), CONNECTIONS)).toBe(CONNECTIONS)
      })

      test('UDP: a datagram comes back', async () => {
        await using service = await hostServices.udpEcho(family)
        expect(await tools.udpEcho(on(service.port), 'over and back')).toBe('over and back')
      })
    })

    test('the tour passes', async () => {
      const bulkBytes = MEGABYTE
      const results = await takeTour({ tools, network, bulkBytes })
      const failed = results.filter(({ outcome }) => outcome === 'failed')
      expect(failed).toEqual([])
    })

    test(
      'ss: a bulk flow has timestamps, SACK, scaled windows, and nothing sent again',
      unless(!hasIproute2 ? 'this guest has no iproute2' : undefined),
      async () => {
        await using service = await hostServices.endless('ipv4')
        const { stdout } = await linux().exec(`
            exec 4<>/dev/tcp/${network.hostAlias}/${service.port} || exit 1
            head -c 8388608 <&4 >/dev/null
            flow() { ss -tineH state established dst ${network.hostAlias} dport = :${service.port}; }
            until flow | grep wscale:; do sleep 0.1; done
            exec 4>&-`)
        expect(stdout).toMatch(/\bts sack\b/)
        expect(stdout).toMatch(/\bwscale:[1-9]\d*,[1-9]\d*\b/)
        // 40 bytes of headers and 12 of timestamps; QEMU's and the namespace's interface both have the link's MTU.
        expect(stdout).toMatch(new RegExp(`\\bmss:${mtu - 52}\\b`))
        expect(stdout).not.toMatch(/retrans:/)
      },
    )

    test(
      'the kernel counted no error and nothing out of order',
      unless(kind === 'scripted' ? 'a scripted guest has no kernel' : undefined),
      async () => {
        const now = await kernelCounters(linux())
        const risen = CLEAN_LINK_COUNTERS.filter(
          (name) => (now.get(name) ?? 0) > (before?.get(name) ?? 0),
        )
        expect(risen).toEqual([])
        // The counters are real: there was traffic.
        expect(now.get('Tcp.InSegs') ?? 0).toBeGreaterThan(1000)
      },
    )
    test(
      'the network did nothing a strict guest objects to',
      unless(kind !== 'scripted' ? 'a kernel does not say what it objects to' : undefined),
      () => {
        expect(guest.problems).toEqual([])
      },
    )

    const noTshark = inject('missingTshark')
    describe('tshark', unless(noTshark), () => {
      test('finds nothing malformed and no bad checksum', async () => {
        const { whole } = network.captureFiles()
        expect(await captureFrames(whole)).toBeGreaterThan(1000)
        expect(await frameFaults(whole)).toEqual([])
      })

      test('finds no segment missing: what was sent again had arrived the first time', async () => {
        const { headers } = network.captureFiles()
        expect(await captureFrames(headers)).toBeGreaterThan(1000)
        const { holes, again } = await segmentOrder(headers)
        expect(holes).toEqual([])
        const byNetwork = again.get(network.composition.gateway.mac) ?? 0
        const byGuest = [...again.values()].reduce((a, b) => a + b, 0) - byNetwork
        // A scripted guest takes segments in order alone, over a local socket: that it has every byte, the bulk tests show.
        let lost = { fromGuest: byGuest, toGuest: 0 }
        if (guest.linux) {
          const now = await kernelCounters(guest.linux)
          const rise = (name: string): number => (now.get(name) ?? 0) - (before?.get(name) ?? 0)
          lost = {
            // Each segment that the kernel counts as repeated has passed twice.
            fromGuest: Math.max(rise('Tcp.RetransSegs') - byGuest, 0),
            // What the network repeated, the kernel had: it said so by a duplicate SACK (RFC 2883).
            toGuest: Math.max(byNetwork - rise('TcpExt.TCPDSACKOldSent'), 0),
          }
        }
        expect(lost).toEqual({ fromGuest: 0, toGuest: 0 })
      })

      // An emulated guest's own CPU may stand still, and nobody sees it.
      test(
        'finds nothing sent again, unless this process stood still for a retransmission timeout',
        unless(kind !== 'netns' ? 'this guest may stand still by itself, unseen' : undefined),
        async () => {
          const { again } = await segmentOrder(network.captureFiles().headers)
          const excused = longestStandstillMs() >= STANDSTILL_MS
          expect(excused ? [] : [...again]).toEqual([])
          // A standstill ends in a timeout. Recovery from a loss, of which there is none, never begins.
          const now = await kernelCounters(linux())
          const risen = RECOVERY_COUNTERS.filter(
            (name) => (now.get(name) ?? 0) > (before?.get(name) ?? 0),
          )
          expect(risen).toEqual([])
        },
      )

      test('and nothing of it was dropped', () => {
        const [seen] = network.composition.gateway.snapshot().guests
        expect(Object.keys(seen?.stats.dropped ?? {}).filter(isLoss)).toEqual([])
      })
    })
  })
}

/** Drops that would make a flow send again. A guest's own chatter (multicast, late segments of a closed flow) is dropped by right. */
const isLoss = (reason: string): boolean =>
  /checksum|truncated|length|no-credit|no-neighbor|limit|queue/.test(reason)
