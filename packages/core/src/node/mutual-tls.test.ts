import { expect, test } from 'vitest'
import { chunks, readAll, writeAll } from '../byte-stream-io.ts'
import type { ByteStream } from '../byte-stream.ts'
import { memoryNetwork } from '../memory-network.ts'
import { mutualTlsAcceptor, mutualTlsDialer } from './mutual-tls.ts'
import { client, engine, stranger } from './tls-identities.test-support.ts'

const at = { path: '/engine' }

test('each direction ends by itself, and every byte arrives', async () => {
  const network = memoryNetwork()
  const accepted = new Promise<ByteStream>((resolve) => {
    void mutualTlsAcceptor(network, engine).listen(at, resolve)
  })
  const dialer = mutualTlsDialer(network, { ...client, serverName: 'engine' })
  const ours = await dialer.connect(at)
  const theirs = await accepted
  const large = Uint8Array.from({ length: 2_000_000 }, (_, i) => (i * 7) % 251)
  const sent = writeAll(ours, large).then(() => ours.end())
  expect(await readAll(theirs)).toEqual(large)
  await sent
  // Our end was half of it: theirs still speaks.
  await writeAll(theirs, 'late')
  theirs.end()
  expect(new TextDecoder().decode(await readAll(ours))).toBe('late')
  expect(await ours.closed).toMatchObject({ kind: 'fin' })
})

test('a client of another authority is not accepted', async () => {
  const network = memoryNetwork()
  let accepted = 0
  await mutualTlsAcceptor(network, engine).listen(at, () => accepted++)
  const reading = async (): Promise<void> => {
    const dialer = mutualTlsDialer(network, { ...stranger, serverName: 'engine' })
    for await (const _ of chunks(await dialer.connect(at)));
    throw new Error('the stream ended in order')
  }
  await expect(reading()).rejects.not.toThrow('in order')
  expect(accepted).toBe(0)
})

test('a server may be known by its address', async () => {
  const network = memoryNetwork()
  await mutualTlsAcceptor(network, engine).listen(at, (stream) => stream.end())
  const dialer = mutualTlsDialer(network, { ...client, serverName: '127.0.0.1' })
  expect(await readAll(await dialer.connect(at))).toEqual(new Uint8Array(0))
})

test.each([
  ['another name', 'elsewhere'],
  ['another address', '127.0.0.2'],
])('a server with %s is refused', async (_, serverName) => {
  const network = memoryNetwork()
  await mutualTlsAcceptor(network, engine).listen(at, () => {})
  const dialer = mutualTlsDialer(network, { ...client, serverName })
  await expect(dialer.connect(at)).rejects.toMatchObject({ code: 'NETKIT_TLS_PEER' })
})
