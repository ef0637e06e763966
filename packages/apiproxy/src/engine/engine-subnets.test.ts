import { chunks, memoryNetwork, writeAll } from '@netkit/core'
import type { ByteStream } from '@netkit/core'
import { expect, test } from 'vitest'
import { engineSubnets } from './engine-subnets.ts'

/** An engine that has one answer. */
async function engineThatSays(json: string): Promise<Parameters<typeof engineSubnets>[0]> {
  const network = memoryNetwork()
  const endpoint = { path: '/engine' }
  const answer = async (stream: ByteStream): Promise<void> => {
    for await (const _ of chunks(stream)) break
    await writeAll(stream, `HTTP/1.0 200 OK\r\n\r\n${json}`)
    stream.end()
  }
  await network.listen(endpoint, (stream) => void answer(stream))
  return { network, endpoint }
}

test('the subnets of both families, each once; networks without any are passed over', async () => {
  const [bridge, front] = [{ Subnet: '172.17.0.0/16' }, { Subnet: '2001:db8:1::/64' }]
  const networks = [
    { Name: 'bridge', IPAM: { Config: [bridge] } },
    { Name: 'front', IPAM: { Config: [bridge, front, {}] } },
    { Name: 'host', IPAM: { Config: null } },
    { Name: 'none' },
  ]
  expect(await engineSubnets(await engineThatSays(JSON.stringify(networks)))).toEqual([
    '172.17.0.0/16',
    '2001:db8:1::/64',
  ])
})

test('an answer that is no list is no engine’s', async () => {
  await expect(engineSubnets(await engineThatSays('{}'))).rejects.toThrow('no list')
})
