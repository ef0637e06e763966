/**
 * The resolvers that Linux programs have, in a VM: what they get is what the same query gets on the host.
 *
 * ```
 *   VM: dig · glibc · musl · Go · busybox ── UDP, TCP ──▶ netkit ── as resolv.conf says ──▶ dnsmasq ◀── dig, on the host
 * ```
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { hostFiles, hostNetwork } from '@netkit/core/node'
import { resolvConfResolver } from '@netkit/dns/node'
import {
  attachLinux,
  bootQemu,
  findProgram,
  hostServices,
  runCommand,
  type HostService,
  type StartedGuest,
} from '@netkit/guests'
import { DIG_QUERIES, digEssence, digStatus, digTtls } from './dig.ts'
import { labNetwork, type LabNetwork } from './lab-network.ts'
import { unless } from './skip-reason.ts'
import { MANY, OFFICE_TTL, officeServer, type OfficeServer } from './resolvers/office-server.ts'

const PROGRAMS = {
  dig: 'bind9-dnsutils',
  dnsmasq: 'dnsmasq-base',
  gcc: 'gcc',
  'musl-gcc': 'musl-tools',
  hey: 'hey',
}

async function missingProgram(): Promise<string | undefined> {
  for (const [program, debian] of Object.entries(PROGRAMS)) {
    if ((await findProgram(program)) === undefined)
      return `${program} is not installed. To get it: apt-get install ${debian}`
  }
  return undefined
}
const missing = inject('missingGuests').qemu ?? (await missingProgram())

/** Builds the same program against both C libraries. */
async function addressPrograms(folder: string): Promise<string[]> {
  const source = new URL('resolvers/addresses.c', import.meta.url).pathname
  const build = async (compiler: string, name: string, ...flags: string[]): Promise<string> => {
    const program = join(folder, name)
    const { code, stderr } = await runCommand(compiler, ['-O1', '-o', program, source, ...flags], {
      timeoutMs: 60_000,
    })
    if (code !== 0) throw new Error(`${compiler} ended with ${code}: ${stderr}`)
    return program
  }
  return await Promise.all([
    build('gcc', 'addresses-glibc'),
    build('musl-gcc', 'addresses-musl', '-static'),
  ])
}

describe('resolvers in a VM', unless(missing), () => {
  let folder: string
  let office: OfficeServer
  let web: HostService
  let network: LabNetwork
  let guest: StartedGuest

  const inGuest = async (script: string): Promise<string> =>
    (await guest.linux?.exec(script))?.stdout.trim() ?? ''
  /** Addresses by name, as `addresses.c` prints them. */
  const addresses = async (library: string, name: string): Promise<string[]> => {
    const [asked, ...found] = (await inGuest(`addresses-${library} ${name}`)).split(' ')
    expect(asked).toBe(name)
    return found
  }
  /** The queries about a name that reached the network, sorted. */
  const askedAbout = (about: string): string[] =>
    (network.composition.dns?.log() ?? [])
      .filter(({ name }) => name === about)
      .map(({ type }) => type)
      .toSorted()

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'netkit-resolvers-'))
    const programs = await addressPrograms(folder)
    for (const program of ['dig', 'hey']) programs.push((await findProgram(program)) ?? program)
    web = await hostServices.http('ipv4')
    // The alias is the host for guests; its address follows from the subnet.
    const subnet = '198.18.65.0/24'
    office = await officeServer('198.18.65.254')
    const path = join(folder, 'resolv.conf')
    await writeFile(path, `search corp.test\nnameserver ${office.ip}\n`)
    const upstream = await resolvConfResolver({ network: hostNetwork(), files: hostFiles, path })
    network = await labNetwork({
      subnet,
      dns: { upstream, hostsFile: false },
      dhcp: { searchDomains: ['corp.test'] },
    })
    guest = await attachLinux(await bootQemu({ programs }), {
      attach: (link) => network.attach(link),
    })
    await guest.tools.lease()
  })
  afterAll(async () => {
    await guest?.close()
    await network?.close()
    await web?.[Symbol.asyncDispose]()
    await office?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  test.each(DIG_QUERIES)('dig %s: the guest gets what the host gets', async (query) => {
    const host = (
      await runCommand('dig', ['+tries=1', `@${office.ip}`, ...query.split(' ')], {
        timeoutMs: 20_000,
      })
    ).stdout.toString()
    const here = await inGuest(`dig +tries=1 +time=15 ${query}`)
    expect(digEssence(here)).toBe(digEssence(host))
    expect(digStatus(host)).toMatch(/^(NOERROR|NXDOMAIN)$/)
    for (const ttl of digTtls(here)) {
      expect(ttl).toBeGreaterThan(0)
      expect(ttl).toBeLessThanOrEqual(OFFICE_TTL)
    }
  })

  test.each(['glibc', 'musl'])('%s: both families, an alias, a short name', async (library) => {
    const wiki = ['198.18.7.2', 'fd00:7::2']
    expect((await addresses(library, 'wiki.corp.test')).toSorted()).toEqual(wiki)
    expect((await addresses(library, 'alias.corp.test')).toSorted()).toEqual(wiki)
    expect((await addresses(library, 'wiki')).toSorted()).toEqual(wiki)
  })

  test.each(['glibc', 'musl'])(
    '%s: a name without AAAA costs one query per family; a missing one fails as missing',
    async (library) => {
      const name = `${library}-only.corp.test`
      expect(await addresses(library, name)).toEqual(['198.18.7.4'])
      // A dropped or failed AAAA would be asked for again.
      expect(askedAbout(name)).toEqual(['A', 'AAAA'])
      expect((await addresses(library, 'missing.corp.test')).join(' ')).toMatch(
        /^failed: Name (or service not known|does not resolve)/,
      )
    },
  )

  test('ninety addresses: glibc gets all of them over TCP', async () => {
    expect((await addresses('glibc', 'many.corp.test')).toSorted()).toEqual(MANY.toSorted())
  })

  test('ninety addresses: a musl without TCP gets those that fit in 512 bytes', async () => {
    const found = await addresses('musl', 'many.corp.test')
    // Header and question take 32 bytes, each address 16 with its owner as a pointer.
    expect(found).toHaveLength(Math.floor((512 - 32) / 16))
    expect(MANY).toEqual(expect.arrayContaining(found))
  })

  test('Go finds a name of the host’s resolver and fetches from it', async () => {
    const url = `http://www.corp.test:${web.port}/hello`
    expect(await inGuest(`GODEBUG=netdns=go hey -n 1 -c 1 ${url}`)).toMatch(/\[200\]\s+1 responses/)
    expect(askedAbout('www.corp.test')).toEqual(['A', 'AAAA'])
  })

  test('Go says of a missing name that there is no such host', async () => {
    const said = await inGuest('GODEBUG=netdns=go hey -n 1 -c 1 http://missing.corp.test/')
    expect(said).toContain('no such host')
  })

  test('busybox: nslookup and wget', async () => {
    expect(await inGuest('nslookup wiki.corp.test')).toContain('198.18.7.2')
    expect(await inGuest(`wget -q -O - http://www.corp.test:${web.port}/hello`)).toContain('hello')
  })
})
