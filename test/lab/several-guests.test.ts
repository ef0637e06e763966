/** Three guests on one gateway: two kernels, and one that asks for much and reads nothing. */

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  attachLinux,
  frameLinkOf,
  hostServices,
  netnsGuest,
  patternDigest,
  type LinuxGuest,
  type StartedGuest,
} from '@netkit/guests'
import { arp, BROADCAST_MAC, ethernet, ETHERTYPE, ipv4, PROTOCOL, udp } from '@netkit/guests/wire'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { arpRequest, HostileVm, VM_MAC } from './hostile-vm.ts'
import { labNetwork, type LabNetwork } from './lab-network.ts'
import { unless } from './skip-reason.ts'

const MEGABYTE = 1 << 20
const BULK_BYTES = 32 * MEGABYTE
/** More than a socket's buffers and a link's slab hold together. */
const FLOOD_BYTES = 64 * MEGABYTE

interface Kernel {
  readonly guest: LinuxGuest
  readonly started: StartedGuest
  readonly ip: string
}

describe('three guests on one gateway', unless(inject('missingGuests').netns), () => {
  let network: LabNetwork
  let folder: string
  let a: Kernel
  let b: Kernel
  let idle: HostileVm

  async function kernel(name: string): Promise<Kernel> {
    const guest = await netnsGuest()
    const started = await attachLinux(guest, { attach: (link) => network.attach(link, name) })
    const { ip } = await started.tools.lease()
    return { guest, started, ip }
  }
  const dropped = (name: string): Record<string, number> =>
    network.composition.guests.get(name)?.stats().dropped ?? {}

  beforeAll(async () => {
    network = await labNetwork({ ipv6: 'on' })
    a = await kernel('a')
    b = await kernel('b')
    folder = await mkdtemp(join(tmpdir(), 'netkit-several-'))
    const path = join(folder, 'vm.sock')
    network.attach(await frameLinkOf({ kind: 'dials', path }), 'idle')
    idle = await HostileVm.open(path, network.gateway, idleIp())
  })
  afterAll(async () => {
    await idle?.[Symbol.asyncDispose]()
    await a?.started.close()
    await b?.started.close()
    await network?.close()
    await rm(folder, { recursive: true, force: true })
  })

  const idleIp = (): string => network.gateway.replace(/\d+$/, '200')

  /** One datagram of the third guest, which opens a mapping to the host's `port`. */
  const asks = (port: number): Promise<void> => {
    const datagram = udp(idleIp(), network.hostAlias, {
      fromPort: 5000,
      toPort: port,
      payload: Buffer.from('all of it'),
    })
    const packet = {
      from: idleIp(),
      to: network.hostAlias,
      protocol: PROTOCOL.udp,
      payload: datagram,
    }
    return idle.frame(ethernet(BROADCAST_MAC, VM_MAC, ETHERTYPE.ipv4, ipv4(packet, 1)))
  }

  test('each has an address of its own, and reaches the others by it', async () => {
    expect(new Set([a.ip, b.ip, idleIp()]).size).toBe(3)
    expect(await a.started.tools.ping(b.ip, 3)).toEqual({ sent: 3, received: 3 })
    // At each other's MAC address: what passes between them is bridged.
    const mac = (await b.guest.exec('cat /sys/class/net/eth0/address')).stdout.trim()
    expect(await a.started.tools.neighbour(b.ip)).toBe(mac)
  })

  test('a guest that reads nothing costs itself alone', async () => {
    idle.stopReading()
    // A host service that answers one datagram with more than anybody holds for a reader.
    const flood = createSocket('udp4')
    flood.bind(0, '127.0.0.1')
    await once(flood, 'listening')
    const asked = once(flood, 'message') as Promise<[Buffer, { port: number; address: string }]>
    await asks(flood.address().port)
    const [, from] = await asked
    const piece = Buffer.alloc(1400)
    let sent = 0
    const flooding = new Promise<void>((resolve) => {
      const some = (): void => {
        for (let i = 0; i < 64; i++) flood.send(piece, from.port, from.address)
        sent += 64 * piece.length
        if (sent < FLOOD_BYTES) setImmediate(some)
        else resolve()
      }
      some()
    })

    await using http = await hostServices.http('ipv4')
    await using service = await b.started.tools.serve(8000, 'from b')
    const [download, between] = await Promise.all([
      a.started.tools.download(
        { host: network.hostAlias, port: http.port },
        `/bytes/${BULK_BYTES}`,
      ),
      a.guest.exec(`exec 4<>/dev/tcp/${b.ip}/${service.port}; cat <&4`),
      flooding,
    ])
    flood.close()
    expect(download).toEqual({ bytes: BULK_BYTES, sha256: patternDigest(BULK_BYTES) })
    expect(between.stdout).toBe('from b')
    // What did not fit was dropped at its own port, and counted there.
    expect(dropped('idle')['no-credit']).toBeGreaterThan(0)
    expect(dropped('a')['no-credit'] ?? 0).toBe(0)
  })

  test('a guest that takes another’s address is told of, and takes nothing', async () => {
    idle.readAgain()
    // What is asked before there is credit again goes unanswered, so it is asked until it is.
    const asking = setInterval(() => void idle.frame(arpRequest(idleIp(), network.gateway)), 50)
    expect(await idle.liveness()).toBe('answers')
    clearInterval(asking)
    const before = dropped('idle')['arp-spoofed'] ?? 0
    // An announcement of a's address, as ARP spoofers send it.
    const spoofed = arp({
      operation: 2,
      senderMac: VM_MAC,
      senderIp: a.ip,
      targetMac: BROADCAST_MAC,
      targetIp: a.ip,
    })
    await idle.frame(ethernet(BROADCAST_MAC, VM_MAC, ETHERTYPE.arp, spoofed))
    expect(await idle.liveness()).toBe('answers')
    expect(dropped('idle')['arp-spoofed']).toBe(before + 1)
    expect(await b.started.tools.ping(a.ip, 2)).toEqual({ sent: 2, received: 2 })
    const own = (await a.guest.exec('cat /sys/class/net/eth0/address')).stdout.trim()
    expect(await b.started.tools.neighbour(a.ip)).toBe(own)
  })
})
