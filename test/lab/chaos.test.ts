/** What happens to VMs: cables are pulled, machines are reset, frozen and killed. The network outlives all of it. */

import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import {
  attachLinux,
  bootQemu,
  hostServices,
  patternDigest,
  type Lease,
  type QemuGuest,
  type Service,
  type StartedGuest,
} from '@netkit/guests'
import { labNetwork, type LabNetwork } from './lab-network.ts'
import { unless } from './skip-reason.ts'

const MEGABYTE = 1 << 20
/** How long something may take to get under way on a busy machine. */
const soon = { timeout: 60_000 }

/** A command that reads for as long as it is let, from the one port that its kernel may use. */
const read = ({ host, port }: Service): string =>
  `echo 40000 40000 >/proc/sys/net/ipv4/ip_local_port_range; nc ${host} ${port} </dev/null`

// One machine for all: each test leaves it as it found it, but the last.
describe('a VM in trouble', unless(inject('missingGuests').qemu), () => {
  let network: LabNetwork
  let qemu: QemuGuest
  let guest: StartedGuest
  let lease: Lease

  beforeAll(async () => {
    network = await labNetwork()
    qemu = await bootQemu()
    guest = await attachLinux(qemu, { attach: (link) => network.attach(link) })
    lease = await guest.tools.lease()
  })
  afterAll(async () => {
    await guest?.close()
    await network?.close()
  })

  /** Downloads `length` bytes from a server of its own; `underWay` once some have come. */
  async function downloads(length = MEGABYTE, underWay?: (port: number) => Promise<void>) {
    await using http = await hostServices.http('ipv4')
    const from = { host: network.hostAlias, port: http.port }
    const running = guest.tools.download(from, `/bytes/${length}`)
    await underWay?.(http.port)
    expect(await running).toEqual({ bytes: length, sha256: patternDigest(length) })
  }

  /** Bytes that the flow to that port of the host has moved. */
  const moved = (port: number): number =>
    network.composition.gateway
      .snapshot()
      .tcp.findLast(({ state, destination }) => state === 'open' && destination.port === port)
      ?.bytesToGuest ?? 0

  /** Runs a command that ends with the machine it runs in. */
  async function doomed(command: string, end: () => Promise<void>): Promise<void> {
    const lost = qemu.exec(command).catch((error: unknown) => error)
    await end()
    expect(await lost).toMatchObject({ code: 'NETKIT_GUEST_GONE' })
  }

  test('the cable is pulled and put back: the network is there', async () => {
    await downloads()
    await qemu.linkDown()
    expect((await qemu.exec('cat /sys/class/net/eth0/carrier')).stdout.trim()).toBe('0')
    await qemu.linkUp()
    await downloads()
  })

  test('frozen in mid-download until the network can be rid of no more, and thawed: every byte arrives', async () => {
    const length = 64 * MEGABYTE
    await downloads(length, async (port) => {
      await expect.poll(() => moved(port), soon).toBeGreaterThan(MEGABYTE)
      qemu.freeze()
      let seen = -1
      const standsStill = (): boolean => {
        const before = seen
        seen = moved(port)
        return seen === before
      }
      await expect.poll(standsStill, { ...soon, interval: 2000 }).toBe(true)
      expect(seen).toBeLessThan(length)
      qemu.thaw()
    })
  })

  test('reset in mid-flow: the address stays, the host’s end is reset, and the ports are used again', async () => {
    await using endless = await hostServices.endless('ipv4')
    const flow = read({ host: network.hostAlias, port: endless.port })
    await doomed(`${flow} >/dev/null`, async () => {
      await expect.poll(() => moved(endless.port), soon).toBeGreaterThan(MEGABYTE)
      await qemu.reset()
    })
    expect(await guest.tools.lease()).toMatchObject({ ip: lease.ip })
    // Whatever the network still thinks of the former flow between these ends.
    const again = await qemu.exec(`${flow} | head -c ${MEGABYTE} | wc -c`)
    expect(again.stdout.trim()).toBe(String(MEGABYTE))
    expect((await endless.next()).end).toMatch(/^(ECONNRESET|EPIPE)$/)
    await downloads()
  })

  test('killed in mid-flow: the host’s end is reset', async () => {
    await using endless = await hostServices.endless('ipv4')
    const flow = read({ host: network.hostAlias, port: endless.port })
    await doomed(`${flow} >/dev/null`, async () => {
      await expect.poll(() => moved(endless.port), soon).toBeGreaterThan(MEGABYTE)
      await qemu.kill()
    })
    expect((await endless.next()).end).toMatch(/^(ECONNRESET|EPIPE)$/)
    await expect(qemu.exec('true')).rejects.toMatchObject({ code: 'NETKIT_GUEST_GONE' })
  })
})
