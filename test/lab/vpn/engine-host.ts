/**
 * The host of the VPN lab with an engine as its guest: pulls through a tunnel that comes and goes, and a proxy that changes under a
 * build and a pull.
 *
 * ```
 *   engine (namespaces) ── TAP ── netkit, here ── sockets ──▶ home0 ══ home    DNS, web, registry, two proxies
 *        HTTP_PROXY=http.docker.internal:3128   └─────────▶ tun0 ══ office  DNS of corp.test, web, registry
 * ```
 *
 * Prints a `VpnEngineReport` as its last line.
 */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createGuestNetwork } from '@netkit/guestnet'
import { ENGINE_IMAGE } from '@netkit/guests'
import { fileSettings, settingsSource } from '@netkit/proxy'
import { startLabEngine } from '../docker-cli.ts'
import { onHost, openPlace, resolvConf } from './open-place.ts'
import { HOME, HOST, OFFICE, PROXY_PORTS, TUNNEL, type VpnEngineReport } from './places.ts'

const [, , folder = ''] = process.argv
const OFFICE_IMAGE = 'registry.corp.test:5000/lab'
const HOME_IMAGE = 'registry.home.test:5000/large'
const SLOW_IMAGE = 'registry.home.test:5001/large'
const PROXY = 'http://http.docker.internal:3128'

const home = await openPlace('home', ['home0', HOST, HOME], join(folder, 'home'))
await onHost(`ip route add default via ${HOME}`)
await resolvConf(HOME)
const settingsFile = join(folder, 'environment')
await writeFile(settingsFile, '')
await using settings = await fileSettings({ path: settingsFile })
await using network = await createGuestNetwork({
  proxy: { sources: [settingsSource('system', settings)] },
})
const { engine, docker: dockerAt } = await startLabEngine({
  attach: (link) => network.attach(link, { name: 'engine' }),
  arguments: [
    `--http-proxy=${PROXY}`,
    `--https-proxy=${PROXY}`,
    ...[OFFICE_IMAGE, HOME_IMAGE, SLOW_IMAGE].map(
      (image) => `--insecure-registry=${image.split('/', 1)[0]}`,
    ),
  ],
})

/** The docker command's last words, or `ok`. */
async function docker(args: readonly string[], input = ''): Promise<string> {
  const { code, stderr, stdout } = await dockerAt(engine.socket, args, input)
  return code === 0
    ? 'ok'
    : ((stderr.trim() || stdout.trim()).split('\n').at(-1) ?? `ended with ${code}`)
}
/** A step without which the next ones mean nothing. */
async function must(args: readonly string[], input = ''): Promise<void> {
  const said = await docker(args, input)
  if (said !== 'ok') throw new Error(`docker ${args.join(' ')}: ${said}`)
}
const printed = async (args: readonly string[]): Promise<string> =>
  (await dockerAt(engine.socket, args)).stdout.trim()
const enginePid = async (): Promise<string> =>
  (await engine.exec('cat /run/docker.pid')).stdout.trim()
const containerState = (): Promise<string> =>
  printed(['inspect', '-f', '{{.Id}} {{.State.StartedAt}} {{.State.Running}}', 'steady'])

await docker(['run', '-d', '--name', 'steady', ENGINE_IMAGE, 'sleep', '3600'])
const engineBefore = await enginePid()
const containerBefore = await containerState()

// The tunnel comes.
const before = await docker(['pull', OFFICE_IMAGE])
const office = await openPlace('office', ['tun0', TUNNEL, OFFICE], join(folder, 'office'))
await resolvConf(OFFICE)
await docker(['tag', ENGINE_IMAGE, OFFICE_IMAGE])
// The new resolver is seen after 100 ms, or at the next look 5 s later; a build script would try again, too.
let push = ''
for (let tries = 0; tries < 40 && push !== 'ok'; tries++) {
  push = await docker(['push', OFFICE_IMAGE])
  if (push !== 'ok') await delay(250)
}
await docker(['rmi', OFFICE_IMAGE])
const up = await docker(['pull', OFFICE_IMAGE])

// The tunnel goes, while two containers download.
const download = (host: string): Promise<string> =>
  docker([
    'run',
    '--rm',
    ENGINE_IMAGE,
    'sh',
    '-c',
    `wget -qO- http://${host}:8080/slow | tail -n 1 | grep -q end`,
  ])
const flows = { office: download('wiki.corp.test'), home: download('www.home.test') }
const isDownloading = (): boolean => {
  const open = network.snapshot().egress.flows.map(({ flow }) => flow.ip)
  return open.includes(OFFICE) && open.includes(HOME)
}
while (!isDownloading()) await delay(20)
await onHost('ip link del tun0')
await resolvConf(HOME)
const ended = { office: await flows.office, home: await flows.home }
const down = await docker(['pull', OFFICE_IMAGE])

// A proxy, and another one in the middle of a build and of a pull over a slow line.
const proxyOf = (port: number): Promise<void> =>
  writeFile(settingsFile, `http_proxy=http://${HOME}:${port}\nhttps_proxy=http://${HOME}:${port}\n`)
const seenBy = async (port: number): Promise<number> =>
  (await readFile(join(folder, 'home', `proxy-${port}.log`), 'utf8'))
    .split('\n')
    // Connections without a request are logged as well.
    .filter((line) => / (?:GET|HEAD) http:/.test(line)).length
const [first, second] = PROXY_PORTS
const follow = async (port: number): Promise<void> => {
  await proxyOf(port)
  while (settings.current.http?.port !== port) await delay(10)
}
await must(
  ['build', '-t', HOME_IMAGE, '-'],
  `FROM ${ENGINE_IMAGE}\nRUN dd if=/dev/urandom of=/large bs=1M count=12\n`,
)
await must(['push', HOME_IMAGE])
await must(['rmi', HOME_IMAGE])
await must(['builder', 'prune', '-af'])
await follow(first)
const running = {
  pull: docker(['pull', SLOW_IMAGE]),
  build: docker(
    ['build', '--no-cache', '--build-arg', `http_proxy=${PROXY}`, '-'],
    `FROM ${ENGINE_IMAGE}\nRUN wget -qO /slow http://www.home.test:8080/slow && tail -n 1 /slow | grep end && wget -qO- http://www.home.test:8080/ | grep home\n`,
  ),
}
// squid writes a line when a request has ended: the pull is past its manifest then, and both are in a download.
while ((await seenBy(first)) < 3) await delay(50)
const seenBefore = [await seenBy(first), await seenBy(second)]
await follow(second)
const switched = {
  build: await running.build,
  pull: await running.pull,
  seen: [
    [seenBefore[0] ?? 0, await seenBy(first)],
    [seenBefore[1] ?? 0, await seenBy(second)],
  ] as const,
}
const report: VpnEngineReport = {
  pulls: { before, push, up, down },
  flows: ended,
  switched,
  engine: [engineBefore, await enginePid()],
  container: [containerBefore, await containerState()],
}
await engine.close()
await network.close()
for (const place of [office, home]) place.stdin?.end()
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0))
