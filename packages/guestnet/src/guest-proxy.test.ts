import { memoryNetwork, readAll, writeAll } from '@netkit/core'
import { memoryLinkPair } from '@netkit/frames'
import { createStack } from '@netkit/tcpip'
import { expect, test } from 'vitest'
import { createGuestNetwork } from './guest-network.ts'

test('a guest goes through http.docker.internal:3128 to where the sources of the host say', async () => {
  const host = memoryNetwork()
  await host.listen({ ip: '127.0.0.1', port: 8888 }, (stream) => {
    void writeAll(stream, 'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nupstream')
  })
  const hop = { via: 'http', host: '127.0.0.1', port: 8888 } as const
  const answers = [{ hops: [hop], reason: 'a test' }]
  await using network = await createGuestNetwork({
    host,
    dns: false,
    subnet: '198.18.1.0/24',
    hostPrefixes: [],
    proxy: { sources: [{ name: 'manual', decide: () => answers[0] }] },
  })
  const [vm, link] = memoryLinkPair()
  network.attach(link, { name: 'vm' })
  const routers = [network.gateway.address]
  await using guest = createStack(vm, { addresses: ['198.18.1.3/24'], routers })
  const ask = async (url: string): Promise<string> => {
    const stream = await guest.network.connect({ ip: network.gateway.address, port: 3128 })
    await writeAll(stream, `GET ${url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    stream.end()
    return new TextDecoder().decode(await readAll(stream))
  }
  // The upstream is on the host's loopback: the host chose it. A guest's own choice of the loopback is denied, also through it.
  expect(await ask('http://203.0.113.7/')).toMatch(/upstream$/)
  expect(await ask('http://127.0.0.1:8888/')).toMatch(/^HTTP\/1.1 403 /)
  answers.pop()
  expect(await ask('http://203.0.113.7/')).toMatch(/^HTTP\/1.1 502 [^]*netkit-error: refused/)
  expect(network.proxy?.stats().failures).toEqual({ denied: 1, refused: 1 })
})

test('the proxy does not lead back into the guests’ subnet, where it would come as the gateway', async () => {
  await using network = await createGuestNetwork({
    host: memoryNetwork(),
    dns: false,
    subnet: '198.18.1.0/24',
    hostPrefixes: [],
    proxy: { sources: [] },
  })
  const [vm, link] = memoryLinkPair()
  network.attach(link, { name: 'vm' })
  const routers = [network.gateway.address]
  await using guest = createStack(vm, { addresses: ['198.18.1.3/24'], routers })
  // An engine's API, which trusts the gateway.
  let reached = 0
  await guest.network.listen({ ip: '198.18.1.3', port: 2375 }, (stream) => {
    reached++
    void writeAll(stream, 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK')
  })
  for (const line of ['GET http://198.18.1.3:2375/_ping', 'CONNECT 198.18.1.3:2375']) {
    const stream = await guest.network.connect({ ip: network.gateway.address, port: 3128 })
    await writeAll(stream, `${line} HTTP/1.1\r\nHost: 198.18.1.3:2375\r\nConnection: close\r\n\r\n`)
    stream.end()
    expect(new TextDecoder().decode(await readAll(stream))).toMatch(/^HTTP\/1.1 403 /)
  }
  expect(reached).toBe(0)
})
