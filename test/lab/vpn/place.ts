/**
 * A place that the host reaches, in a namespace of its own: a DNS server and a web server. `home` is the network the host is at;
 * `office` lies behind the tunnel and alone knows `corp.test`.
 */

import { createServer } from 'node:http'
import { once } from 'node:events'
import { hostNetwork } from '@netkit/core/node'
import { createDnsServer, zones } from '@netkit/dns'
import { startServices } from './services.ts'
import { HOME, OFFICE, SLOW_LINES, SLOW_MS } from './places.ts'

const utf8 = new TextEncoder()
const raw = (...bytes: readonly (number | string)[]): Uint8Array =>
  Uint8Array.from(
    bytes.flatMap((part) => (typeof part === 'number' ? [part] : [...utf8.encode(part)])),
  )

const [, , place, folder] = process.argv
const office = zones({ authoritative: ['.'], ttl: 60 })
  .set('wiki.corp.test', [
    { type: 'A', data: OFFICE },
    { type: 'AAAA', data: 'fd00:7::2' },
    { type: 'TXT', data: ['one', 'x'.repeat(255), 'y'.repeat(255), 'z'.repeat(255)] },
    { type: 'MX', data: { preference: 5, exchange: 'mail.corp.test' } },
    { type: 'CAA', data: { tag: 'issue', value: 'ca.corp.test' } },
    { type: 'HTTPS', data: raw(0, 1, 0, 0, 1, 0, 3, 2, 'h2') },
    { type: 'TYPE65535', data: raw(1, 2, 3) },
  ])
  .set(
    '_ldap._tcp.corp.test',
    Array.from({ length: 40 }, (_, i) => ({
      type: 'SRV' as const,
      data: { priority: i, weight: 1, port: 389, target: `dc${i}.corp.test` },
    })),
  )
  .set('alias.corp.test', { type: 'CNAME', data: 'wiki.corp.test' })
  .set('registry.corp.test', { type: 'A', data: OFFICE })
  // The office resolves the world as well.
  .set('www.home.test', { type: 'A', data: HOME })
  .set('registry.home.test', { type: 'A', data: HOME })

const home = zones({ authoritative: ['.'], ttl: 60 })
  .set('www.home.test', { type: 'A', data: HOME })
  .set('registry.home.test', { type: 'A', data: HOME })

const dns = createDnsServer({ upstream: place === 'home' ? home : office, cache: false })
await dns.listen(hostNetwork(), { ip: '0.0.0.0', port: 53 })
const web = createServer((request, response) => {
  if (request.url !== '/slow') {
    response.end(`${place}\n`)
    return
  }
  // One line at a time, for longer than the tunnel comes and goes.
  let sent = 0
  const timer = setInterval(() => {
    response.write(`${sent}\n`)
    if (++sent < SLOW_LINES) return
    clearInterval(timer)
    response.end('end\n')
  }, SLOW_MS)
}).listen(8080, '0.0.0.0')
await once(web, 'listening')
if (folder !== undefined) await startServices(folder)
process.stdout.write('ready\n')
// The place closes when whoever opened it is gone.
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
