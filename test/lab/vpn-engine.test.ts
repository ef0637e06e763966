/** A tunnel comes and goes, and the host's proxy changes, under an engine that pulls and builds. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { findProgram, runCommand } from '@netkit/guests'
import { engineUnavailable } from './docker-cli.ts'
import { unless } from './skip-reason.ts'
import type { VpnEngineReport } from './vpn/places.ts'

/** The host's own namespaces and name service files, then the host. Besides not forwarding, it drops what it would forward. */
const HOST = `
mount --make-rprivate / &&
mount --bind "$1/resolv.conf" /etc/resolv.conf &&
mount --bind "$1/hosts" /etc/hosts &&
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf &&
ip link set lo up && iptables -P FORWARD DROP &&
exec "$2" --conditions=netkit-source --no-warnings "$3" "$1"`

async function missingProgram(): Promise<string | undefined> {
  for (const [program, debian] of [
    ['docker-registry', 'docker-registry'],
    ['iptables', 'iptables'],
    ['squid', 'squid'],
  ] as const) {
    if ((await findProgram(program)) === undefined)
      return `${program} is not installed. To get it: apt-get install ${debian}`
  }
  return undefined
}
const missing = (await engineUnavailable()) ?? (await missingProgram())

describe('an engine on a host with a VPN', unless(missing), () => {
  let report: VpnEngineReport

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'netkit-vpn-engine-'))
    try {
      await writeFile(join(folder, 'resolv.conf'), '')
      await writeFile(join(folder, 'hosts'), '127.0.0.1 localhost\n')
      await writeFile(join(folder, 'nsswitch.conf'), 'hosts: files dns\n')
      await runCommand('chmod', ['0777', folder], { timeoutMs: 5000 })
      const script = new URL('vpn/engine-host.ts', import.meta.url).pathname
      const { code, stdout, stderr } = await runCommand(
        'unshare',
        ['--net', '--mount', 'bash', '-c', HOST, 'bash', folder, process.execPath, script],
        { timeoutMs: 280_000 },
      )
      if (code !== 0) throw new Error(`The host ended with ${code}:\n${stdout.toString()}${stderr}`)
      report = JSON.parse(stdout.toString().trim().split('\n').at(-1) ?? '') as VpnEngineReport
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  // The daemon goes by http.docker.internal:3128, which says 502 to a name that does not exist.
  test('before the tunnel the registry behind it has no name', () => {
    expect(report.pulls.before).toMatch(/502 Bad Gateway/)
  })

  test('tunnel up: docker pushes to and pulls from behind it', () => {
    expect(report.pulls).toMatchObject({ push: 'ok', up: 'ok' })
  })

  test('tunnel down: its flow ends, the other one finishes, the name is gone again', () => {
    expect(report.flows.office).not.toBe('ok')
    expect(report.flows.home).toBe('ok')
    expect(report.pulls.down).toMatch(/502 Bad Gateway/)
  })

  test('the proxy of the host switched under a build and a pull: both finish, the second proxy is used', () => {
    expect(report.switched).toMatchObject({ build: 'ok', pull: 'ok' })
    const [, second] = report.switched.seen
    expect(second?.[0]).toBe(0)
    expect(second?.[1]).toBeGreaterThan(0)
  })

  test('the engine and its container never noticed', () => {
    expect(report.engine[1]).toBe(report.engine[0])
    expect(report.container[1]).toBe(report.container[0])
    expect(report.container[0]).toMatch(/ true$/)
  })
})
