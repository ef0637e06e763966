/**
 * A host in a company whose proxies alone reach the web, and what a guest and the command alone get there: by squid with a password and
 * by tinyproxy, asked for explicitly and not asked for at all.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, inject, test } from 'vitest'
import { findProgram, runCommand } from '@netkit/guests'
import { CLIENTS, CORP, type ClientName, type ProxyReport } from './proxy/places.ts'
import { unless } from './skip-reason.ts'

/** The host's own namespaces and files, then the host. */
const HOST_SCRIPT = `
mount --make-rprivate / &&
mount --bind "$1/resolv.conf" /etc/resolv.conf &&
mount --bind "$1/hosts" /etc/hosts &&
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf &&
mount --bind "$1/etc-environment" /etc/environment &&
ip link set lo up && exec "$2" --conditions=netkit-source --no-warnings "$3" "$1"`

async function missingProgram(): Promise<string | undefined> {
  for (const [program, debian] of [
    ['curl', 'curl'],
    ['git', 'git'],
    ['npm', 'npm'],
    ['openssl', 'openssl'],
    ['squid', 'squid'],
    ['tinyproxy', 'tinyproxy-bin'],
    ['apt-get', 'apt'],
  ] as const) {
    if ((await findProgram(program)) === undefined)
      return `${program} is not installed. To get it: apt-get install ${debian}`
  }
  return undefined
}
const missing = inject('missingGuests').netns ?? (await missingProgram())

const names = Object.keys(CLIENTS) as ClientName[]
const upstreams = ['squid', 'tinyproxy'] as const
const ways = ['explicit', 'transparent', 'alone'] as const

/** Our own mark in Via and the versions of the proxies are left out. */
const plain = (text: string | undefined): string | undefined =>
  text?.replace(/1\.1 netkit-\w+, /, '').replace(/ \(\w+\/[\d.]+\)/, '')

/** What each client prints when all is well. */
const wanted = (
  report: ProxyReport,
  upstream: (typeof upstreams)[number],
): Readonly<Record<ClientName, string>> => ({
  'curl, http': `hello by 1.1 ${upstream === 'squid' ? 'squid.corp.test' : 'tinyproxy'}`,
  'curl, https': 'hello by nobody',
  'curl, 20 MB': report.large,
  'git over HTTP': 'from git',
  'git over HTTPS': 'from git',
  apt: '1.0-lab',
  npm: 'from npm',
  'Node fetch': 'hello by nobody',
})

describe('a host behind proxies', unless(missing), () => {
  let report: ProxyReport

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'netkit-proxies-'))
    try {
      await writeFile(join(folder, 'resolv.conf'), `nameserver ${CORP}\n`)
      await writeFile(join(folder, 'hosts'), '127.0.0.1 localhost\n')
      await writeFile(join(folder, 'nsswitch.conf'), 'hosts: files dns\n')
      await writeFile(join(folder, 'etc-environment'), '')
      // squid runs as a user of its own.
      await runCommand('chmod', ['0777', folder], { timeoutMs: 5000 })
      const script = new URL('proxy/host.ts', import.meta.url).pathname
      const { code, stdout, stderr } = await runCommand(
        'unshare',
        ['--net', '--mount', 'bash', '-c', HOST_SCRIPT, 'bash', folder, process.execPath, script],
        { timeoutMs: 280_000 },
      )
      if (code !== 0) throw new Error(`The host ended with ${code}:\n${stdout.toString()}${stderr}`)
      report = JSON.parse(stdout.toString().trim().split('\n').at(-1) ?? '') as ProxyReport
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  test('nothing reaches the web but the proxies', () => {
    expect(report.withoutProxy).toMatch(/^curl: \(/)
  })

  describe.each(ways)('%s', (way) => {
    describe.each(upstreams)('by %s', (upstream) => {
      test.each(names)('%s', (client) => {
        expect(plain(report[way][upstream][client])).toBe(wanted(report, upstream)[client])
      })
    })
  })

  test('both proxies saw tunnels and requests, and netkit had no failure to tell', () => {
    for (const upstream of upstreams) {
      expect(report.logged[upstream].tunnels).toBeGreaterThanOrEqual(9)
      expect(report.logged[upstream].requests).toBeGreaterThanOrEqual(9)
    }
    expect(report.failures).toEqual({})
  })

  test.each(['explicit', 'transparent'] as const)(
    'the upstream switched in mid-download, %s: it finishes, the next request takes the new one',
    (way) => {
      expect(report.switched[way].last).toBe('end')
      expect(report.switched[way].next).toContain('squid')
    },
  )
})
