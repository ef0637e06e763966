/**
 * The host of the proxy lab, in namespaces of its own: its only neighbour is the company's network, whose proxies alone reach the web.
 *
 * ```
 *   guest (namespace) ── TAP ── netkit, here ──▶ corp0 ══ corp (namespace) 198.18.20.1 ══ web (namespace) 198.18.21.2
 *                                                          DNS, squid, tinyproxy            HTTP, HTTPS, git, apt, npm
 * ```
 *
 * Prints a `ProxyReport` as its last line.
 */

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createGuestNetwork } from '@netkit/guestnet'
import { frameLinkOf, linuxTools, netnsGuest, runCommand } from '@netkit/guests'
import { fileSettings, guestProxyEnv, parseProxy, settingsSource } from '@netkit/proxy'
import {
  CLIENTS,
  CORP,
  CORP_OUTSIDE,
  HOST,
  UPSTREAMS,
  WEB,
  WEB_NAME,
  type ClientName,
  type ProxyReport,
  type UpstreamName,
} from './places.ts'

const run = promisify(execFile)
const [, , folder = ''] = process.argv
const host = async (script: string): Promise<string> => (await run('bash', ['-c', script])).stdout

/** Opens a place; what it prints when it is ready. */
async function open(name: string): Promise<{ child: ChildProcess; said: string }> {
  const script = new URL(`${name}.ts`, import.meta.url).pathname
  const child = spawn('unshare', ['--net', process.execPath, ...process.execArgv, script, folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  // First that it is in its namespace, then that it serves.
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  await lines.next()
  await cable(name, child.pid ?? 0)
  const { value: said } = await lines.next()
  return { child, said: String(said) }
}

const inside = (where: number, script: string): string => `nsenter -t ${where} -n sh -c '${script}'`

async function cable(name: string, pid: number): Promise<void> {
  if (name === 'corp') {
    corpPid = pid
    await host(`
      ip link add corp0 type veth peer name eth0 netns ${pid} && ip addr add ${HOST}/24 dev corp0 && ip link set corp0 up &&
      ${inside(pid, `ip addr add ${CORP}/24 dev eth0 && ip link set eth0 up && ip link set lo up`)}`)
    return
  }
  await host(`
    ${inside(corpPid, `ip link add eth1 type veth peer name eth0 netns ${pid} && ip addr add ${CORP_OUTSIDE}/24 dev eth1 && ip link set eth1 up`)} &&
    ${inside(pid, `ip addr add ${WEB}/24 dev eth0 && ip link set eth0 up && ip link set lo up`)}`)
}
let corpPid = 0

const corp = await open('corp')
const web = await open('web')
await host(`ip route add default via ${CORP}`)

/** The settings of the host, in the file that netkit is told to follow, and in the one that it finds by itself. */
const settingsFile = join(folder, 'environment')
async function set(upstream: UpstreamName): Promise<void> {
  const lines = ['http_proxy', 'https_proxy'].map((name) => `${name}=${UPSTREAMS[upstream]}\n`)
  for (const path of [settingsFile, '/etc/environment']) await writeFile(path, lines.join(''))
}

/** Runs every client with `exec`; what each printed. */
async function tryAll(
  exec: (script: string) => Promise<string>,
  environment: string,
): Promise<Record<string, string>> {
  const printed: Record<string, string> = {}
  for (const name of Object.keys(CLIENTS) as ClientName[]) {
    const work = await mkdtemp(join(folder, 'work-'))
    printed[name] = (
      await exec(`
        ${environment}
        export WORK='${work}' CA='${folder}/ca.pem' NODE='${process.execPath}' HOME='${work}'
        ${CLIENTS[name]}`)
    ).trim()
  }
  return printed
}

const exported = (variables: Readonly<Record<string, string>>): string =>
  Object.entries(variables)
    .map(([name, value]) => `export ${name}='${value}'`)
    .join('\n')

await set('squid')
const withoutProxy = await host(`curl -sS -m 3 http://${WEB}/hello 2>&1 || true`)
await using settings = await fileSettings({ path: settingsFile })
await using guest = await netnsGuest()
await using network = await createGuestNetwork({
  proxy: { sources: [settingsSource('system', settings)] },
})
network.attach(await frameLinkOf(guest.link), { name: 'guest' })
await linuxTools(guest).lease()
const inGuest = async (script: string): Promise<string> =>
  (await guest.exec(script, { timeoutMs: 90_000 })).stdout

const explicitly = `${exported(guestProxyEnv({ direct: [network.gateway.subnet] }))}\nexport NODE_USE_ENV_PROXY=1`
const transparently = ''

/** Sets the upstream and waits until netkit has seen it: an event of the file. */
async function follow(upstream: UpstreamName): Promise<void> {
  const wanted = JSON.stringify(parseProxy(UPSTREAMS[upstream]))
  const isSet = (): boolean => JSON.stringify(settings.current.http) === wanted
  if (isSet()) return
  const seen = new Promise<void>((resolve) => {
    const stop = settings.onChange(() => {
      if (!isSet()) return
      stop()
      resolve()
    })
  })
  await set(upstream)
  await seen
}

const explicit: Partial<Record<UpstreamName, Record<string, string>>> = {}
const transparent: Partial<Record<UpstreamName, Record<string, string>>> = {}
const switched: Partial<Record<'explicit' | 'transparent', { last: string; next: string }>> = {}
for (const upstream of ['squid', 'tinyproxy'] as const) {
  await follow(upstream)
  explicit[upstream] = await tryAll(inGuest, explicitly)
  transparent[upstream] = await tryAll(inGuest, transparently)
}

// The upstream changes while a download runs: tinyproxy now, squid then.
for (const [way, environment] of [
  ['explicit', explicitly],
  ['transparent', transparently],
] as const) {
  await follow('tinyproxy')
  const slow = join(folder, `slow-${way}`)
  const download = inGuest(`${environment}
    curl -sS -N -m 60 http://${WEB_NAME}/slow >'${slow}'; tail -n 1 '${slow}'`)
  while (!(await readFile(slow, 'utf8').catch(() => '')).includes('\n')) await delay(20)
  await follow('squid')
  const next = await inGuest(`${environment}\n${CLIENTS['curl, http']}`)
  switched[way] = { next: next.trim(), last: (await download).trim() }
}

// Without a guest: the command alone, by the settings that it finds on this host.
const alone: Partial<Record<UpstreamName, Record<string, string>>> = {}
const main = new URL('../../../packages/cli/src/main.ts', import.meta.url).pathname
for (const upstream of ['squid', 'tinyproxy'] as const) {
  await set(upstream)
  const command = spawn(
    process.execPath,
    [...process.execArgv, main, 'proxy', '--listen', '127.0.0.1:0', '--json'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const lines = createInterface(command.stdout)
  const [line] = (await once(lines, 'line')) as [string]
  const { listening } = JSON.parse(line) as { listening: readonly string[] }
  const [ip = '', port = ''] = (listening[0] ?? '').split(':')
  const variables = guestProxyEnv({ proxy: { host: ip, port: Number(port) } })
  alone[upstream] = await tryAll(
    async (script) => {
      // None of this machine's own certificates and proxies.
      const env = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' }
      const { stdout, stderr } = await runCommand('bash', ['--norc', '-c', script], {
        env,
        timeoutMs: 90_000,
      })
      return `${stdout.toString()}${stderr}`
    },
    `${exported(variables)}\nexport NODE_USE_ENV_PROXY=1`,
  )
  command.kill('SIGTERM')
  await once(command, 'exit')
}

const logged = async (upstream: UpstreamName): Promise<{ tunnels: number; requests: number }> => {
  const text = await readFile(join(folder, `${upstream}.log`), 'utf8')
  const isTunnel = upstream === 'squid' ? /_TUNNEL\/200 \d+ CONNECT / : /"?CONNECT [^"\s]+:443/
  const isRequest = upstream === 'squid' ? /_MISS\/200 \d+ (?:GET|POST) / : /(?:GET|POST) http:/
  const count = (pattern: RegExp): number => text.split('\n').filter((l) => pattern.test(l)).length
  return { tunnels: count(isTunnel), requests: count(isRequest) }
}
const report = {
  withoutProxy: withoutProxy.trim(),
  explicit,
  transparent,
  alone,
  switched,
  logged: { squid: await logged('squid'), tinyproxy: await logged('tinyproxy') },
  large: web.said,
  failures: network.proxy?.stats().failures ?? {},
} as ProxyReport
await network.close()
await guest.close()
for (const { child } of [web, corp]) {
  child.stdin?.end()
  await once(child, 'exit')
}
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0))
