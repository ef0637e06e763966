/** A machine that is frozen, reset and replaced: what it had open ends, and what it was stays. */

import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { attachLinux, bootQemu, hostServices, patternDigest } from '@netkit/guests'
import { describe, expect, inject, test, vi } from 'vitest'
import { labNetwork } from './lab-network.ts'
import { unless } from './skip-reason.ts'

const MEGABYTE = 1 << 20
const FROZEN_MS = 10_000

describe('a machine and its next boot', unless(inject('missingGuests').qemu), () => {
  test('frozen for ten seconds it loses nothing; reset, its idle flow ends; killed, the next one has its address', async () => {
    await using network = await labNetwork()
    await using qemu = await bootQemu()
    await using guest = await attachLinux(qemu, { attach: (link) => network.attach(link) })
    const lease = await guest.tools.lease()

    await using endless = await hostServices.endless('ipv4')
    const running = qemu.exec(`
      exec 4<>/dev/tcp/${network.hostAlias}/${endless.port} || exit 1
      head -c ${4 * MEGABYTE} <&4 >/dev/null`)
    qemu.freeze()
    // Not a wait for anything: that the machine stands still so long is what is tested.
    await delay(FROZEN_MS)
    qemu.thaw()
    expect((await running).code).toBe(0)

    // An idle flow, of which the next boot knows nothing.
    await using server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const accepted = once(server, 'connection') as Promise<[Socket]>
    await qemu.exec(
      `(exec 5<>/dev/tcp/${network.hostAlias}/${port}; exec sleep 1000) >/dev/null 2>&1 &`,
    )
    const [socket] = await accepted
    const idleEnd = once(socket, 'error') as Promise<[NodeJS.ErrnoException]>
    await qemu.reset()
    expect(await guest.tools.lease()).toMatchObject({ ip: lease.ip })
    expect((await idleEnd)[0].code).toBe('ECONNRESET')

    await qemu.kill()
    const { gateway } = network.composition
    await vi.waitUntil(() => gateway.guests.size === 0, { timeout: 60_000 })
    await using next = await bootQemu()
    await using again = await attachLinux(next, { attach: (link) => network.attach(link) })
    expect(await again.tools.lease()).toMatchObject({ ip: lease.ip })
    await using http = await hostServices.http('ipv4')
    const from = { host: network.hostAlias, port: http.port }
    const { sha256 } = await again.tools.download(from, `/bytes/${MEGABYTE}`)
    expect(sha256).toBe(patternDigest(MEGABYTE))
  })
})
