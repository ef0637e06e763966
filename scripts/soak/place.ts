/**
 * A place that the host reaches: web pages of known bytes, a service that answers with the hash of what it got, and two proxies that the
 * host's settings may name. Runs in a process of its own, so that the system under test shares nothing with it. Ends with its standard
 * input.
 *
 * | path | does |
 * |---|---|
 * | `GET /bytes/N` | N bytes of the pattern |
 * | `PUT /` | the SHA-256 of the body |
 */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { hostNetwork, hostResolver } from '@netkit/core/node'
import { pattern } from '@netkit/guests'
import { createProxyServer } from '@netkit/proxy'
import { UPSTREAM_PORTS, WEB_PORT } from './places.ts'

const web = createServer((request, response) => {
  if (request.method === 'PUT') {
    const hash = createHash('sha256')
    request.on('data', (chunk: Buffer) => hash.update(chunk))
    request.on('end', () => response.end(hash.digest('hex')))
    request.on('error', () => response.destroy())
    return
  }
  const length = Number(/^\/bytes\/(\d+)$/.exec(request.url ?? '')?.[1] ?? 0)
  response.writeHead(200, { 'content-length': length })
  pipeline(Readable.from(pattern(length)), response).catch(() => response.destroy())
}).listen(WEB_PORT, '0.0.0.0')
await once(web, 'listening')

if (process.argv[2] === 'with-proxies') {
  const network = hostNetwork()
  for (const port of UPSTREAM_PORTS) {
    const proxy = createProxyServer({ network, resolver: hostResolver() })
    await proxy.listen(network, { ip: '127.0.0.1', port })
  }
}
process.stdout.write('ready\n')
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
