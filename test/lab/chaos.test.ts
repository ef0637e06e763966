/** What happens to VMs: cables are pulled, machines are reset, frozen and killed. The network outlives all of it. */

import { describe, expect, inject, test } from 'vitest'
import {
  attachLinux,
  bootQemu,
  hostServices,
  patternDigest,
  type QemuGuest,
  type StartedGuest,
} from '@netkit/guests'
import { labNetwork, type LabNetwork } from './lab-network.ts'
import { unless } from './skip-reason.ts'

const MEGABYTE = 1 << 20

interface Machine extends AsyncDisposable {
  readonly qemu: QemuGuest
  readonly guest: StartedGuest
  readonly network: LabNetwork
}

async function machine(): Promise<Machine> {
  const network = await labNetwork()
  const qemu = await bootQemu()
  const guest = await attachLinux(qemu, { attach: (link) => network.attach(link) })
  return {
    qemu,
    guest,
    network,
    async [Symbol.asyncDispose]() {
      await guest.close()
      await network.close()
    },
  }
}

describe('a VM in trouble', unless(inject('missingGuests').qemu), () => {
  test('the cable is pulled and put back; frozen and thawed; reset; killed', async () => {
    await using it = await machine()
    const { qemu, guest, network } = it
    const { tools } = guest
    const lease = await tools.lease()
    await using http = await hostServices.http('ipv4')
    const from = { host: network.hostAlias, port: http.port }
    const downloads = async (): Promise<void> => {
      const { sha256 } = await tools.download(from, `/bytes/${MEGABYTE}`)
      expect(sha256).toBe(patternDigest(MEGABYTE))
    }
    await downloads()

    await qemu.linkDown()
    expect((await qemu.exec('cat /sys/class/net/eth0/carrier')).stdout.trim()).toBe('0')
    await qemu.linkUp()
    await downloads()

    // A flow that runs while the machine stands still, with a sender that never stops.
    await using endless = await hostServices.endless('ipv4')
    const flow = `exec 4<>/dev/tcp/${network.hostAlias}/${endless.port} || exit 1
      head -c ${4 * MEGABYTE} <&4 >/dev/null`
    const running = qemu.exec(flow)
    qemu.freeze()
    qemu.thaw()
    expect((await running).code).toBe(0)

    // The old flows die with the machine that had them; the address stays.
    const lost = qemu.exec(
      `exec 4<>/dev/tcp/${network.hostAlias}/${endless.port}; cat <&4 >/dev/null`,
    )
    const loss = lost.catch((error: unknown) => error)
    await qemu.reset()
    expect(await loss).toMatchObject({ code: 'NETKIT_GUEST_GONE' })
    expect(await tools.lease()).toMatchObject({ ip: lease.ip })
    await downloads()

    await qemu.kill()
    await expect(qemu.exec('true')).rejects.toMatchObject({ code: 'NETKIT_GUEST_GONE' })
  })
})
