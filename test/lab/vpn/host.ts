/**
 * The host of the VPN lab, in namespaces of its own: it forwards nothing, and gets and loses a tunnel while a guest of it works.
 *
 * ```
 *   guest (namespace) ── TAP ── netkit, here ── sockets ──▶ home0 ══ home (namespace) 198.18.8.1     DNS and web of the network it is at
 *                                              └─────────▶ tun0 ══ office (namespace) 198.18.7.2   DNS of corp.test, web
 * ```
 *
 * Prints a `VpnReport` as its last line.
 */

import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { createGuestNetwork } from '@netkit/guestnet'
import { frameLinkOf, linuxTools, netnsGuest } from '@netkit/guests'
import { DIG_QUERIES, digEssence, digStatus } from '../dig.ts'
import { onHost, openPlace, resolvConf } from './open-place.ts'
import { HOME, HOST, OFFICE, TUNNEL, type VpnReport } from './places.ts'

const LATE = 'Waiting for the guest to see the change'

const home = await openPlace('home', ['home0', HOST, HOME])
await onHost(`ip route add default via ${HOME}`)

await resolvConf(HOME)

await using guest = await netnsGuest()
await using network = await createGuestNetwork({})
network.attach(await frameLinkOf(guest.link), { name: 'guest' })
await linuxTools(guest).lease()
const gateway = network.gateway.address
const inGuest = async (script: string): Promise<string> => (await guest.exec(script)).stdout.trim()
const digGuest = (query: string): Promise<string> =>
  inGuest(`dig +tries=1 +time=5 @${gateway} ${query}`)
const page = (name: string): Promise<string> =>
  inGuest(`curl -s -m 5 http://${name}:8080/ || echo failed`)

const longFlow = inGuest('curl -s -m 60 http://www.home.test:8080/slow | tail -n 1')
const before = {
  office: digStatus(await digGuest('wiki.corp.test A')),
  home: digStatus(await digGuest('www.home.test A')),
  page: await page('www.home.test'),
}

// Up: the tunnel and its DNS server.
const office = await openPlace('office', ['tun0', TUNNEL, OFFICE])
const changedAt = performance.now()
await resolvConf(OFFICE)
while (digStatus(await digGuest('wiki.corp.test A')) !== 'NOERROR') {
  if (performance.now() - changedAt > 10_000) throw new Error(LATE)
  await delay(10)
}
const seenAfterMs = performance.now() - changedAt

const answers: Record<string, { host: string; guest: string }> = {}
for (const query of DIG_QUERIES) {
  answers[query] = {
    host: digEssence(await onHost(`dig +tries=1 +time=5 @${OFFICE} ${query}`)),
    guest: digEssence(await digGuest(query)),
  }
}
const up = {
  seenAfterMs,
  page: await page('wiki.corp.test'),
  glibc: await inGuest('getent ahostsv4 alias.corp.test | head -n 1'),
  busybox: await inGuest(`nslookup wiki.corp.test ${gateway} | grep -c ${OFFICE}`),
  answers,
}

// Down: the interface goes, and the resolver is the old one again.
await onHost('ip link del tun0')
await resolvConf(HOME)
const deadline = performance.now() + 10_000
while (digStatus(await digGuest('wiki.corp.test A')) === 'NOERROR') {
  if (performance.now() > deadline) throw new Error(LATE)
  await delay(10)
}
const down = {
  host: digStatus(await onHost(`dig +tries=1 +time=5 @${HOME} wiki.corp.test A`)),
  guest: digStatus(await digGuest('wiki.corp.test A')),
  home: await page('www.home.test'),
  longFlow: await longFlow,
}
office.stdin?.end()
home.stdin?.end()
const forwarding = (await readFile('/proc/sys/net/ipv4/ip_forward', 'utf8')).trim()
const report: VpnReport = { forwarding, before, up, down }
await network.close()
await guest.close()
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0))
