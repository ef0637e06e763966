/**
 * A host with a LAN and a guest, in namespaces of its own. netkit runs as a user without privileges, the helper for low ports as root.
 *
 * ```
 *   lan (namespace)                         this namespace (root)
 *   198.18.20.2 ══ veth ══ 198.18.20.1 lan0
 *   curl, UDP ──────────────▶ published ports ── netkit gateway (uid 65534) ◀── frames ── guest: httpd, datagram mirror
 *                                   ▲ descriptors of ports below 1024
 *                             netkit-portd serve (root)
 * ```
 *
 * Argument: the kind of guest. Prints a `PortsReport` as its last line.
 */

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chown, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { hostNetwork } from '@netkit/core/node'
import { createSwitch, streamLink } from '@netkit/frames'
import { guestHolders } from '@netkit/ports/node'
import {
  askDatagram,
  bootQemu,
  linuxTools,
  netnsGuest,
  runCommand,
  type DatagramAnswer,
  type LinuxGuest,
} from '@netkit/guests'
import { CLIENT, HOST, LATE, PUBLISHED, USER } from './places.ts'
import type { Answer, BoundSocket, PortsReport } from './places.ts'

const run = promisify(execFile)
const sh = async (script: string): Promise<string> => (await run('bash', ['-c', script])).stdout

const kind = process.argv[2] === 'qemu' ? 'qemu' : 'netns'
const here = (file: string): string => new URL(file, import.meta.url).pathname
const HELPER = '/usr/local/libexec/netkit/netkit-portd'

const folder = await mkdtemp(join(tmpdir(), 'netkit-ports-'))
await chown(folder, USER, USER)
const frames = join(folder, 'frames.sock')
const control = join(folder, 'ports.sock')
const children: ChildProcess[] = []
process.once('exit', () => children.forEach((child) => child.kill('SIGKILL')))

// The LAN, and a machine on it.
const lan = spawn(
  'unshare',
  ['--net', process.execPath, ...process.execArgv, here('lan-client.ts')],
  {
    stdio: ['pipe', 'pipe', 'inherit'],
  },
)
children.push(lan)
const lanLines = createInterface({ input: lan.stdout })[Symbol.asyncIterator]()
await lanLines.next()
await sh(`
  ip link add lan0 type veth peer name eth0 netns ${lan.pid} &&
  ip addr add ${HOST.v4}/24 dev lan0 && ip addr add ${HOST.v6}/64 dev lan0 nodad && ip link set lan0 up &&
  nsenter -t ${lan.pid} -n sh -c '
    ip addr add ${CLIENT.v4}/24 dev eth0; ip addr add ${CLIENT.v6}/64 dev eth0 nodad; ip link set eth0 up; ip link set lo up'`)

// The helper, in a directory of root's.
await sh(`
  mkdir -p ${HELPER.slice(0, HELPER.lastIndexOf('/'))} /run/netkit &&
  cc -O2 -o ${HELPER} ${here('../../../packages/ports/helper/netkit-portd.c')}`)
const helperSocket = `/run/netkit/portd-${USER}.sock`
const helper = spawn(HELPER, [
  'serve',
  '--uid',
  `${USER}`,
  '--gid',
  `${USER}`,
  '--socket',
  helperSocket,
])
children.push(helper)
while (!existsSync(helperSocket)) await delay(5)
const helperDescriptors = async (): Promise<number> =>
  (await readdir(`/proc/${helper.pid}/fd`)).length
const descriptorsBefore = await helperDescriptors()

// netkit, as the user.
const options = ['--json', '--qemu', frames, '--mtu', '1500', '--host-alias', '--control', control]
const netkit = spawn(
  'setpriv',
  [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', process.execPath]
    .concat(process.execArgv, here('../../../packages/cli/src/main.ts'), 'gateway', options)
    .concat(PUBLISHED.flatMap((spec) => ['--publish', spec])),
  { stdio: ['ignore', 'pipe', 'inherit'] },
)
children.push(netkit)
const netkitEnded = once(netkit, 'exit')
const [line] = (await once(createInterface({ input: netkit.stdout }), 'line')) as [string]
const { gateway, hostAlias } = JSON.parse(line) as { gateway: string; hostAlias: string }
const status = await readFile(`/proc/${netkit.pid}/status`, 'utf8')

// The guest, with a server for each protocol.
async function startGuest(): Promise<LinuxGuest> {
  if (kind === 'qemu') return await bootQemu({ netdev: { kind: 'dials', path: frames } })
  const guest = await netnsGuest()
  if (guest.link.kind !== 'frames') throw new TypeError('a namespace has a link of its own')
  const cable = createSwitch()
  cable.addPort(guest.link.link)
  cable.addPort(streamLink(await hostNetwork().connect({ path: frames })))
  return guest
}
await using guest = await startGuest()
const inGuest = async (script: string): Promise<string> => {
  const { code, stdout } = await guest.exec(script)
  if (code !== 0) throw new Error(`The guest failed with ${code}:\n${script}\n${stdout}`)
  return stdout.trim()
}
const { ip: v4 } = await linuxTools(guest).lease()

const mirror = join(folder, 'datagram-mirror')
await run('cc', ['-O2', '-static', '-o', mirror, here('datagram-mirror.c')])
const files = createHttpServer((_, response) => {
  void readFile(mirror).then((bytes) => response.end(bytes))
}).listen(0, '127.0.0.1')
await once(files, 'listening')
await inGuest(`
  cd $NETKIT_GUEST_FOLDER && mkdir -p www/cgi-bin &&
  printf '#!/bin/sh\\nprintf "content-type: text/plain\\\\r\\\\n\\\\r\\\\n%%s %%s" "$REMOTE_ADDR" "$REMOTE_PORT"\\n' >www/cgi-bin/who &&
  chmod 755 www/cgi-bin/who && busybox httpd -p 80 -h $NETKIT_GUEST_FOLDER/www &&
  wget -q -O mirror http://${hostAlias}:${(files.address() as AddressInfo).port}/ && chmod 755 mirror && ./mirror 53`)
files.close()
// From the router advertisement, which may come a moment after the lease.
const v6 = await inGuest(`
  until ip -6 addr show dev eth0 | grep -v tentative | grep -q 'inet6 fd'; do usleep 50000; done
  ip -6 addr show dev eth0 | sed -n 's,.*inet6 \\(fd[^/]*\\)/.*,\\1,p' | head -n 1`)

// Asking.
const at = (ip: string): string => (ip.includes(':') ? `[${ip}]` : ip)
const readAnswer = (text: string): Answer => {
  const [ip = '', port = ''] = text.replace('::ffff:', '').split(' ')
  return { ip: ip.replaceAll(/[[\]]/g, ''), port: Number(port) }
}
const LAN = ['nsenter', '-t', `${lan.pid}`, '-n']
const localPorts: Record<string, number> = {}

/** curl on the host or, with `LAN`, on the other machine; its exit status and its words. */
async function curl(
  args: readonly string[],
  from: readonly string[] = [],
): Promise<{ code: number; text: string }> {
  const [program = 'curl', ...rest] = [...from, 'curl', '-s', '-m', '30', ...args]
  const { code, stdout } = await runCommand(program, rest, { timeoutMs: 60_000 })
  return { code, text: stdout.toString() }
}
async function http(
  name: string,
  ip: string,
  port: number,
  from: readonly string[] = [],
): Promise<[string, Answer]> {
  const url = `http://${at(ip)}:${port}/cgi-bin/who`
  const { code, text } = await curl(['-w', '\n%{local_port}', url], from)
  if (code !== 0) throw new Error(`curl ${url} (${name}) ended with ${code}`)
  const [answer = '', local = ''] = text.split('\n')
  localPorts[name] = Number(local)
  return [name, readAnswer(answer)]
}
async function lanDatagram(ip: string, port: number, text: string): Promise<DatagramAnswer> {
  lan.stdin?.write(`${JSON.stringify({ ip, port, text })}\n`)
  const { value } = await lanLines.next()
  return JSON.parse(value as string) as DatagramAnswer
}
async function udp(
  name: string,
  ip: string,
  ask: (ip: string, port: number, text: string) => Promise<DatagramAnswer>,
): Promise<[string, Answer]> {
  const { text, localPort } = await ask(ip, 53, name)
  if (!text.endsWith(` ${name}`)) throw new Error(`${name} came back as ${text}`)
  localPorts[`udp ${name}`] = localPort
  return [name, readAnswer(text)]
}
/** The control API, as a script asks it. */
const ask = (
  method: string,
  path: string,
  body?: unknown,
): Promise<{ code: number; text: string }> =>
  curl(
    ['--unix-socket', control, '-X', method, '-w', '\n%{http_code}', `http://netkit${path}`].concat(
      body === undefined ? [] : ['-d', JSON.stringify(body)],
    ),
  )

// Over IPv6 into the guest as well.
const preserveSource = { except: [] }
const six = await ask('POST', '/v1/ports', {
  owner: 'six',
  requests: [{ protocol: 'tcp', ip: '::', port: 8086 }],
  targets: [{ to: `[${v6}]:80`, preserveSource }],
})
if (!six.text.endsWith('201')) throw new Error(six.text)

const httpAnswers = Object.fromEntries([
  await http('loopback v4', '127.0.0.1', 8080),
  await http('loopback v6', '::1', 8080),
  await http('own address', HOST.v4, 8081),
  await http('low port, loopback', '127.0.0.1', 80),
  await http('low port, LAN v4', HOST.v4, 80, LAN),
  await http('low port, LAN v6', HOST.v6, 80, LAN),
  await http('exact address, LAN v4', HOST.v4, 8081, LAN),
  await http('LAN v6 to the guest’s v6', HOST.v6, 8086, LAN),
])
const udpAnswers = Object.fromEntries([
  await udp('loopback v4', '127.0.0.1', askDatagram),
  await udp('loopback v6', '::1', askDatagram),
  await udp('LAN v4', HOST.v4, lanDatagram),
  await udp('LAN v6', HOST.v6, lanDatagram),
])

const { code: refused } = await curl([`http://127.0.0.1:8085/`])

// The port of another user.
const taken = createServer().listen(7777, '127.0.0.1')
await once(taken, 'listening')
const conflict = await ask('POST', '/v1/ports', {
  owner: 'web',
  requests: [{ protocol: 'tcp', port: 7777 }],
})
taken.close()

// Who has port 80 in the guest: what an engine there would stumble over.
const inGuestHolders = guestHolders({ run: inGuest })
const port80 = { protocol: 'tcp', ip: '0.0.0.0', port: 80 } as const
const guestHolder = await inGuestHolders.find(port80, AbortSignal.timeout(60_000))

// gvproxy's form.
const exposed = { local: ':8090', protocol: 'tcp' }
const gvproxy = {
  exposed: (await ask('POST', '/services/forwarder/expose', { ...exposed, remote: `${v4}:80` }))
    .text,
  all: (await ask('GET', '/services/forwarder/all')).text,
  answer: (await http('gvproxy', HOST.v4, 8090, LAN))[1],
  unexposed: (await ask('POST', '/services/forwarder/unexpose', exposed)).text,
  after: (await curl([`http://${HOST.v4}:8090/`], LAN)).code,
}

// The host gets one more address.
await sh(`ip addr add ${LATE}/24 dev lan0`)
const late = (await udp('late address', LATE, lanDatagram))[1]

const bySocket = async (): Promise<BoundSocket[]> =>
  (await sh('ss -H -l -t -u -n -p'))
    .split('\n')
    .filter((text) => text.includes(`pid=${netkit.pid},`))
    .map((text) => text.trim().split(/\s+/))
    .map(([protocol = '', , , , local = '']) => `${protocol} ${local.replaceAll(/[[\]]/g, '')}`)
    .toSorted()
const listed = JSON.parse((await ask('GET', '/v1/ports')).text.replace(/\n200$/, '')) as {
  address: { protocol: string; ip: string; port: number }
}[]
const kernel = await bySocket()
const helperReport = { descriptors: await helperDescriptors(), descriptorsBefore }
const conflictStatus = Number(conflict.text.slice(-3))

netkit.kill('SIGTERM')
const [exitCode] = (await netkitEnded) as [number]
const report: PortsReport = {
  netkit: {
    uid: /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? '',
    capabilities: /^CapEff:\s+(\S+)/m.exec(status)?.[1] ?? '',
  },
  guest: { v4, v6, gateway },
  http: httpAnswers,
  udp: udpAnswers,
  localPorts,
  sockets: {
    kernel,
    listed: listed
      .map(({ address: { protocol, ip, port } }) => `${protocol} ${ip}:${port}`)
      .toSorted(),
  },
  refused,
  conflict: { status: conflictStatus, message: conflict.text },
  guestHolder,
  gvproxy,
  late,
  helper: helperReport,
  left: await bySocket(),
  exitCode,
}
await guest.close()
helper.kill()
lan.stdin?.end()
await rm(folder, { recursive: true, force: true })
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0))
