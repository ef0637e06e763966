/** A tunnel comes and goes on a host that forwards nothing; its guest resolves and reaches what the host does, and no more. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, inject, test } from 'vitest'
import { findProgram, runCommand } from '@netkit/guests'
import { DIG_QUERIES } from './dig.ts'
import { unless } from './skip-reason.ts'
import type { VpnReport } from './vpn/places.ts'

/** The host's own namespaces and name service files, then the host. */
const HOST = `
mount --make-rprivate / &&
mount --bind "$1/resolv.conf" /etc/resolv.conf &&
mount --bind "$1/hosts" /etc/hosts &&
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf &&
ip link set lo up && exec "$2" --conditions=netkit-source "$3"`

async function missingProgram(): Promise<string | undefined> {
  for (const [program, debian] of [
    ['dig', 'bind9-dnsutils'],
    ['curl', 'curl'],
  ] as const) {
    if ((await findProgram(program)) === undefined)
      return `${program} is not installed. To get it: apt-get install ${debian}`
  }
  return undefined
}
const missing = inject('missingGuests').netns ?? (await missingProgram())

describe('a VPN on the host', unless(missing), () => {
  let report: VpnReport

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'netkit-vpn-'))
    try {
      await writeFile(join(folder, 'resolv.conf'), '')
      await writeFile(join(folder, 'hosts'), '127.0.0.1 localhost\n')
      await writeFile(join(folder, 'nsswitch.conf'), 'hosts: files dns\n')
      const script = new URL('vpn/host.ts', import.meta.url).pathname
      const { code, stdout, stderr } = await runCommand(
        'unshare',
        ['--net', '--mount', 'bash', '-c', HOST, 'bash', folder, process.execPath, script],
        { timeoutMs: 120_000 },
      )
      if (code !== 0) throw new Error(`The host ended with ${code}:\n${stdout.toString()}${stderr}`)
      report = JSON.parse(stdout.toString().trim().split('\n').at(-1) ?? '') as VpnReport
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  test('the host forwards nothing: what the guest reaches, it reaches through the host’s own sockets', () => {
    expect(report.forwarding).toBe('0')
  })

  test('before: the office’s names do not exist, the world’s do', () => {
    expect(report.before).toEqual({ office: 'NXDOMAIN', home: 'NOERROR', page: 'home' })
  })

  test('tunnel up: the guest sees the new resolver by itself, and fetches from behind the tunnel', () => {
    expect(report.up.page).toBe('office')
    expect(report.up.glibc).toContain('198.18.7.2')
    expect(report.up.busybox).toBe('1')
  })

  test.each(DIG_QUERIES)('dig %s: the guest gets what the host gets', (query) => {
    const { host, guest } = report.up.answers[query] ?? { host: 'not asked', guest: '' }
    expect(guest).toBe(host)
    expect(host).toMatch(/^(NOERROR|NXDOMAIN)/)
  })

  test('tunnel down: the name fails as on the host, and other flows live on', () => {
    expect(report.down.guest).toBe(report.down.host)
    expect(report.down).toMatchObject({ guest: 'NXDOMAIN', home: 'home', longFlow: 'end' })
  })
})
