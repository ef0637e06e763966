/**
 * Published ports as their users meet them: curl and UDP on the host and on another machine of its LAN, a server in a Linux guest,
 * netkit as a user without privileges, and the helper for low ports as root.
 */

import { beforeAll, describe, expect, inject, test } from 'vitest'
import { findProgram, runCommand } from '@netkit/guests'
import { CLIENT, HOST, USER, type PortsReport } from './ports/places.ts'
import { unless } from './skip-reason.ts'

/** Namespaces with root's directories of their own, then the host. */
const HOST_SCRIPT = `
mount --make-rprivate / &&
mount -t tmpfs -o mode=755 tmpfs /run &&
mount -t tmpfs -o mode=755 tmpfs /usr/local &&
ip link set lo up && exec "$1" --conditions=netkit-source --no-warnings "$2" "$3"`

async function missingProgram(): Promise<string | undefined> {
  for (const [program, debian] of [
    ['curl', 'curl'],
    ['cc', 'gcc libc6-dev'],
    ['setpriv', 'util-linux'],
    ['ss', 'iproute2'],
  ] as const) {
    if ((await findProgram(program)) === undefined)
      return `${program} is not installed. To get it: apt-get install ${debian}`
  }
  return undefined
}
const missingTool = await missingProgram()

describe.each(['netns', 'qemu'] as const)('ports of a %s guest', (kind) => {
  // Both need a namespace for the host.
  const missing = inject('missingGuests')[kind] ?? inject('missingGuests').netns ?? missingTool

  describe('published by a user', unless(missing), () => {
    let report: PortsReport

    beforeAll(async () => {
      const script = new URL('ports/host.ts', import.meta.url).pathname
      const { code, stdout, stderr } = await runCommand(
        'unshare',
        ['--net', '--mount', 'bash', '-c', HOST_SCRIPT, 'bash', process.execPath, script, kind],
        { timeoutMs: 200_000 },
      )
      if (code !== 0) throw new Error(`The host ended with ${code}:\n${stdout.toString()}${stderr}`)
      report = JSON.parse(stdout.toString().trim().split('\n').at(-1) ?? '') as PortsReport
    })

    test('netkit has no privileges, and ports 53 and 80 all the same', () => {
      expect(report.netkit).toEqual({ uid: `${USER}`, capabilities: '0000000000000000' })
      expect(report.sockets.kernel).toEqual(
        expect.arrayContaining(['tcp 0.0.0.0:80', 'tcp :::80', 'udp 127.0.0.1:53', 'udp ::1:53']),
      )
      expect(report.helper.descriptors).toBe(report.helper.descriptorsBefore)
    })

    test('ss -ltnup lists exactly what the broker lists', () => {
      expect(report.sockets.kernel).toEqual(report.sockets.listed)
      expect(report.sockets.kernel).toHaveLength(12)
    })

    test.each(['low port, LAN v4', 'exact address, LAN v4'])(
      'HTTP from the LAN (%s): the guest sees the client’s own address and port',
      (name) => {
        expect(report.http[name]).toEqual({ ip: CLIENT.v4, port: report.localPorts[name] })
      },
    )

    test('HTTP over IPv6 into the guest: the guest sees the client’s own address and port', () => {
      const name = 'LAN v6 to the guest’s v6'
      expect(report.http[name]).toEqual({ ip: CLIENT.v6, port: report.localPorts[name] })
    })

    test('HTTP from the host by its LAN address: the guest sees that address', () => {
      const name = 'own address'
      expect(report.http[name]).toEqual({ ip: HOST.v4, port: report.localPorts[name] })
    })

    test.each(['loopback v4', 'loopback v6', 'low port, loopback', 'low port, LAN v6'])(
      'HTTP by %s: the guest could not answer that address, and sees the gateway',
      (name) => {
        expect(report.http[name]?.ip).toBe(report.guest.gateway)
      },
    )

    test('UDP from the LAN: the guest sees the client’s own address and port', () => {
      const port = report.localPorts['udp LAN v4']
      expect(report.udp['LAN v4']).toEqual({ ip: CLIENT.v4, port })
    })

    test.each(['loopback v4', 'loopback v6', 'LAN v6'])(
      'UDP by %s: the guest sees the gateway, and the answer comes from the address that was asked',
      (name) => {
        expect(report.udp[name]?.ip).toBe(report.guest.gateway)
      },
    )

    test('an address that the host gets later answers over UDP, from itself', () => {
      expect(report.late).toEqual({
        ip: CLIENT.v4,
        port: report.localPorts['udp late address'],
      })
    })

    test('a port that nobody serves in the guest: curl is reset, not answered by nothing', () => {
      // CURLE_RECV_ERROR.
      expect(report.refused).toBe(56)
    })

    test('a port that is taken: the API says so, and by whom', () => {
      expect(report.conflict.status).toBe(409)
      expect(report.conflict.message).toContain('127.0.0.1:7777/tcp for web')
      expect(report.conflict.message).toContain('address already in use')
      expect(report.conflict.message).toContain('user root')
    })

    test('a port that is taken in the guest: its own process is named, and told from the host’s', () => {
      expect(report.guestHolder).toMatchObject({
        kind: 'process',
        side: 'guest',
        command: expect.stringMatching(/^(busybox|httpd)$/),
        user: 'root',
      })
    })

    test('gvproxy’s form: exposed, listed, reached, unexposed', () => {
      const { exposed, all, answer, unexposed, after } = report.gvproxy
      expect([exposed, unexposed]).toEqual(['\n200', '\n200'])
      expect(JSON.parse(all.replace(/\n200$/, ''))).toEqual([
        { local: ':8090', remote: `${report.guest.v4}:80`, protocol: 'tcp' },
      ])
      expect(answer).toEqual({ ip: CLIENT.v4, port: report.localPorts['gvproxy'] })
      // CURLE_COULDNT_CONNECT.
      expect(after).toBe(7)
    })

    test('SIGTERM: nothing stays bound', () => {
      expect(report.exitCode).toBe(0)
      expect(report.left).toEqual([])
    })
  })
})
