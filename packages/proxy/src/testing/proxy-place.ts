/** A proxy on a network in memory, with origins and clients around it. */

import { chunks, errorCode, ManualClock, memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { ByteStream, IpEndpoint, Network } from '@netkit/core'
import { onTestFinished } from 'vitest'
import { LiveSettings } from '../host-settings/live-settings.ts'
import { createProxyServer } from '../proxy-server.ts'
import type { ProxyServer, ProxyServerOptions } from '../proxy-server.ts'
import { parseProxy } from '../proxy-settings.ts'
import type { ProxySettings } from '../proxy-settings.ts'

export const ORIGIN = '198.18.0.7'
const names = new Map([
  ['www.example', ORIGIN],
  ['proxy.example', '198.18.0.8'],
  ['second.example', '198.18.0.9'],
])
export const resolver: ProxyServerOptions['resolver'] = {
  async resolve(name, { family } = {}) {
    const ip = family === 6 ? undefined : names.get(name)
    if (ip === undefined) throw Object.assign(new Error(`ENOTFOUND ${name}`), { code: 'ENOTFOUND' })
    return [ip]
  },
}

export interface Place {
  readonly network: Network
  readonly proxy: ProxyServer
  readonly dial: () => Promise<ByteStream>
}

export async function place(
  options: Partial<ProxyServerOptions> & { base?: Network } = {},
): Promise<Place> {
  const base = options.base ?? memoryNetwork()
  const proxy = createProxyServer({ resolver, network: base, ...options })
  onTestFinished(() => proxy.close())
  const { address } = await proxy.listen(base, { ip: '192.168.65.1', port: 3128 })
  return { network: base, proxy, dial: () => base.connect(address) }
}

export const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

/** Reads until `pattern` is there. */
export async function until(stream: ByteStream, pattern: RegExp): Promise<string> {
  let seen = ''
  for await (const bytes of chunks(stream)) {
    seen += text(bytes)
    if (pattern.test(seen)) return seen
  }
  throw new Error(`ended after ${JSON.stringify(seen)}`)
}

/** Listens; a connection that the proxy resets is over and no failure. */
export async function listenAt(
  network: Network,
  at: IpEndpoint,
  accept: (stream: ByteStream) => Promise<void>,
): Promise<void> {
  await network.listen(at, (stream) => {
    accept(stream).catch((error: unknown) => {
      if (errorCode(error) !== 'ECONNRESET') throw error
    })
  })
}

/** An origin that answers each connection's head with `answer`; what it was sent is in `heads`. */
export async function origin(
  network: Network,
  answer: string,
  at: Partial<IpEndpoint> = {},
): Promise<string[]> {
  const heads: string[] = []
  await listenAt(network, { ip: ORIGIN, port: 80, ...at }, async (stream) => {
    let seen = ''
    for await (const bytes of chunks(stream)) {
      seen += text(bytes)
      if (!seen.includes('\r\n\r\n')) continue
      heads.push(seen)
      seen = ''
      await writeAll(stream, answer)
    }
    stream.end()
  })
  return heads
}

export const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'
export const get = (head = '', url = 'http://www.example/'): string =>
  `GET ${url} HTTP/1.1\r\nHost: www.example\r\n${head}\r\n`

export async function ask(stream: ByteStream, request: string): Promise<string> {
  await writeAll(stream, Buffer.from(request, 'latin1'))
  stream.end()
  return text(await readAll(stream))
}

/** Settings that a test changes. */
export function changing(first: ProxySettings): LiveSettings {
  const live = new LiveSettings({
    origin: { source: 'a test', changes: 'events' },
    clock: new ManualClock(),
  })
  live.set(first)
  return live
}

/** Everything through one proxy. */
export const through = (proxyText: string): ProxySettings => {
  const all = parseProxy(proxyText)
  return all ? { all } : {}
}
