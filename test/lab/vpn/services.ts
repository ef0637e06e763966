/** What a place has for engines: a registry, the same registry over a slow line, and two proxies, of which neither knows the other. */

import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { PROXY_PORTS, REGISTRY_PORT, SLOW_REGISTRY_BYTES, SLOW_REGISTRY_PORT } from './places.ts'

/** Starts them; they end with this process. */
export async function startServices(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true })
  // Its cable comes when it serves; its own loopback it needs now.
  execFileSync('ip', ['link', 'set', 'lo', 'up'])
  const registry = join(folder, 'registry.yml')
  writeFileSync(
    registry,
    `version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: ${folder}/registry } }
http: { addr: "0.0.0.0:${REGISTRY_PORT}" }
`,
  )
  const children: ChildProcess[] = [
    spawn('docker-registry', ['serve', registry], { stdio: ['ignore', 'ignore', 'inherit'] }),
  ]
  // squid logs and runs as a user of its own.
  chmodSync(folder, 0o777)
  for (const port of PROXY_PORTS) {
    const file = join(folder, `proxy-${port}.conf`)
    // Not tinyproxy: of an `Accept` in several lines, as docker writes it, it passes on the first.
    writeFileSync(
      file,
      `http_port 0.0.0.0:${port}
http_access allow all
cache deny all
memory_cache_shared off
access_log stdio:${folder}/proxy-${port}.log
cache_log ${folder}/proxy-${port}-cache.log
pid_filename none
coredump_dir ${folder}
dns_nameservers 127.0.0.1
visible_hostname proxy.home.test
shutdown_lifetime 0 seconds
max_filedescriptors 1024
`,
    )
    children.push(spawn('squid', ['-N', '-f', file], { stdio: 'ignore' }))
  }
  process.on('exit', () => {
    for (const child of children) child.kill('SIGKILL')
  })
  const slow = createServer({ allowHalfOpen: true }, (client) => {
    const way = connect({ port: REGISTRY_PORT, host: '127.0.0.1', allowHalfOpen: true })
    client.pipe(way)
    way.pipe(slowly()).pipe(client)
    way.on('error', () => client.destroy())
    client.on('error', () => way.destroy())
  }).listen(SLOW_REGISTRY_PORT, '0.0.0.0')
  await once(slow, 'listening')
  for (const port of [REGISTRY_PORT, ...PROXY_PORTS]) while (!(await answers(port))) await delay(20)
}

/** So many bytes a second. */
function slowly(): Transform {
  return new Transform({
    transform(bytes: Buffer, _encoding, done) {
      setTimeout(() => done(null, bytes), (1000 * bytes.length) / SLOW_REGISTRY_BYTES)
    },
  })
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
