/* oxlint-disable no-underscore-dangle -- what is held until the end of its scope is not used otherwise */
/** Real kernels on a test network, beside virtual hosts: what `net.attach` promises. */

import { once } from 'node:events'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { startGuest, type GuestKind, type LinuxGuest, type StartedGuest } from '@netkit/guests'
import { createTestnet, type NodeHost, type NodeTestnet } from '@netkit/testnet/node'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { unless } from './skip-reason.ts'

const GUEST_IP = '198.18.5.1'

/** A guest has no DHCP server here: it is told its address, as the net's other hosts are. */
const CONFIGURE = `
  ip addr add ${GUEST_IP}/16 dev eth0
  ip link set eth0 up
  echo nameserver 198.18.0.1 > /etc/resolv.conf`

for (const kind of ['qemu', 'v86'] as const satisfies readonly GuestKind[]) {
  describe(`a ${kind} guest on a test network`, unless(inject('missingGuests')[kind]), () => {
    let net: NodeTestnet
    let api: NodeHost
    let guest: StartedGuest
    let linux: LinuxGuest

    beforeAll(async () => {
      // A kernel's time is real.
      net = createTestnet({ clock: 'ambient' })
      api = net.host('api.test')
      await api.listen(
        (request, response) => response.end(`hello ${request.socket.remoteAddress}`),
        80,
      )
      guest = await startGuest(kind, { attach: (link) => void net.attach(link, 'guest') })
      if (guest.linux === undefined) throw new Error(`${kind} has no kernel`)
      linux = guest.linux
      const { code, stdout } = await linux.exec(CONFIGURE)
      if (code !== 0) throw new Error(`The guest did not take its address: ${stdout}`)
    })

    afterAll(async () => {
      await guest?.close()
      await net?.close()
    })

    async function connectedTo(port: number): Promise<Socket | undefined> {
      const socket = api.connect({ host: GUEST_IP, port })
      return once(socket, 'connect').then(
        () => socket,
        () => undefined,
      )
    }

    const get = async (): Promise<string> =>
      (await linux.exec('wget -q -O - http://api.test/')).stdout

    test('asks the net’s DNS, connects to a virtual host and is seen with its address', async () => {
      expect(await get()).toBe(`hello ${GUEST_IP}`)
    })

    test('a virtual host connects to a server in the guest', async () => {
      await linux.exec('(echo from the kernel | nc -l -p 7000 >/dev/null) &')
      // The server is up when somebody gets in.
      let socket: Socket | undefined
      while (socket === undefined) socket = await connectedTo(7000)
      socket.end()
      expect(await text(socket)).toBe('from the kernel\n')
    })

    test('a SYN that a rule drops is sent again by the kernel', async () => {
      let dropped = 0
      using tap = net.tap({ from: 'guest', port: 80 })
      using _rule = net.rule(({ flags }) =>
        flags.syn && !flags.ack && dropped++ === 0 ? 'drop' : 'pass',
      )
      expect(await get()).toBe(`hello ${GUEST_IP}`)
      expect(tap.retransmissions().filter(({ flags }) => flags.syn).length).toBe(1)
    })

    test('a reset by the net ends the kernel’s connection', async () => {
      using _reset = net.rule(({ payload, sourcePort, destinationPort }) =>
        [sourcePort, destinationPort].includes(80) && payload.length > 0 ? 'reset' : 'pass',
      )
      const { code, stdout } = await linux.exec('wget -q -O - http://api.test/ 2>&1')
      expect(code).not.toBe(0)
      expect(stdout).toMatch(/reset|error getting response/i)
    })
  })
}
