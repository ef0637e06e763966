/**
 * The company's network, in a namespace of its own: its DNS server, squid with a password, and tinyproxy. It forwards nothing: whoever
 * wants to the web has to ask one of its proxies.
 */

import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { hostNetwork } from '@netkit/core/node'
import { createDnsServer, zones } from '@netkit/dns'
import { CORP, UPSTREAMS, WEB, WEB_NAME } from './places.ts'

const [, , folder = ''] = process.argv
process.stdout.write('started\n')
while (
  !Object.values(networkInterfaces())
    .flat()
    .some((at) => at?.address === CORP)
)
  await delay(5)
const names = zones({ authoritative: ['.'], ttl: 60 }).set(WEB_NAME, { type: 'A', data: WEB })
const dns = createDnsServer({ upstream: names, cache: false })
await dns.listen(hostNetwork(), { ip: '0.0.0.0', port: 53 })

const { username, password } = new URL(UPSTREAMS.squid)
const hash = execFileSync('openssl', ['passwd', '-apr1', decodeURIComponent(password)]).toString()
writeFileSync(join(folder, 'users'), `${username}:${hash}`, { mode: 0o644 })
writeFileSync(
  join(folder, 'squid.conf'),
  `http_port ${CORP}:3128
auth_param basic program /usr/lib/squid/basic_ncsa_auth ${folder}/users
auth_param basic realm lab
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
cache deny all
memory_cache_shared off
access_log stdio:${folder}/squid.log
cache_log ${folder}/squid-cache.log
pid_filename none
coredump_dir ${folder}
dns_nameservers ${CORP}
visible_hostname squid.corp.test
shutdown_lifetime 0 seconds
max_filedescriptors 4096
`,
)
writeFileSync(
  join(folder, 'tinyproxy.conf'),
  `Port 8888
Listen ${CORP}
Timeout 600
MaxClients 100
ViaProxyName "tinyproxy"
LogFile "${folder}/tinyproxy.log"
LogLevel Connect
`,
)
const children: ChildProcess[] = [
  spawn('squid', ['-N', '-f', join(folder, 'squid.conf')], { stdio: 'ignore' }),
  spawn('tinyproxy', ['-d', '-c', join(folder, 'tinyproxy.conf')], { stdio: 'ignore' }),
]
const stop = (): void => {
  for (const child of children) child.kill('SIGKILL')
}
process.on('exit', stop)
for (const child of children) child.on('exit', (code) => process.exit(code ?? 1))

async function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, CORP)
    socket.on('connect', () => resolve(true))
    socket.on('error', () => resolve(false))
    socket.on('close', () => socket.destroy())
    socket.on('connect', () => socket.end())
  })
}
for (const port of [3128, 8888]) while (!(await answers(port))) await delay(20)
process.stdout.write('ready\n')
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
