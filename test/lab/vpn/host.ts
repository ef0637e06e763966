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

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createGuestNetwork } from '@netkit/guestnet'
import { frameLinkOf, linuxTools, netnsGuest } from '@netkit/guests'
import { DIG_QUERIES, digEssence, digStatus } from '../dig.ts'
import { HOME, HOST, OFFICE, TUNNEL, type VpnReport } from './places.ts'

const run = promisify(execFile)
const host = async (script: string): Promise<string> => (await run('bash', ['-c', script])).stdout

const LATE = 'Waiting for the guest to see the change'

/** Opens a place and lays a cable to it. */
async function open(name: string, device: string, own: string, its: string): Promise<ChildProcess> {
  const script = new URL('place.ts', import.meta.url).pathname
  const child = spawn('unshare', ['--net', process.execPath, ...process.execArgv, script, name], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  await host(`
    ip link add ${device} type veth peer name eth0 netns ${child.pid} &&
    ip addr add ${own}/24 dev ${device} && ip link set ${device} up &&
    nsenter -t ${child.pid} -n sh -c 'ip addr add ${its}/24 dev eth0 && ip link set eth0 up && ip link set lo up'`)
  return child
}

const home = await open('home', 'home0', HOST, HOME)
await host(`ip route add default via ${HOME}`)

const resolvConf = (server: string): Promise<void> =>
  writeFile('/etc/resolv.conf', `nameserver ${server}\n`)
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
const office = await open('office', 'tun0', TUNNEL, OFFICE)
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
    host: digEssence(await host(`dig +tries=1 +time=5 @${OFFICE} ${query}`)),
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
await host('ip link del tun0')
await resolvConf(HOME)
const deadline = performance.now() + 10_000
while (digStatus(await digGuest('wiki.corp.test A')) === 'NOERROR') {
  if (performance.now() > deadline) throw new Error(LATE)
  await delay(10)
}
const down = {
  host: digStatus(await host(`dig +tries=1 +time=5 @${HOME} wiki.corp.test A`)),
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
