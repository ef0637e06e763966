import { blockOf, type ByteStream, type Dialer, type Endpoint } from '@netkit/core'
import { expect, test } from 'vitest'
import { settle } from '../../test/frame-log.ts'
import { ManualClock } from '../../test/manual-clock.ts'
import { ByteCollector, streamPair, type TestStream } from '../../test/stream-pair.ts'
import { hybridVsock, hybridVsockDialer } from './hybrid-vsock.ts'

function hypervisor() {
  const dialled: Endpoint[] = []
  const [near, far] = streamPair()
  const dialer: Dialer = {
    connect(to) {
      dialled.push(to)
      return Promise.resolve(near)
    },
  }
  const heard = new ByteCollector(blockOf(new Uint8Array(4096)))
  far.read(heard)
  const say = (text: string, stream: TestStream = far) =>
    stream.write(blockOf(text), 0, text.length)
  return { dialer, dialled, near, far, heard, say }
}

const textOf = (collector: ByteCollector) => Buffer.from(collector.bytes).toString()

test('CONNECT is sent, OK is read, and the bytes behind it belong to the stream', async () => {
  const { dialer, dialled, heard, say } = hypervisor()
  const connecting = hybridVsock(dialer, '/run/vm.vsock', 1024)
  await settle()
  expect(textOf(heard)).toBe('CONNECT 1024\n')
  say('OK 1073741824\nhello')
  const stream = await connecting
  const rest = new ByteCollector(blockOf(new Uint8Array(64)))
  stream.read(rest)
  await settle()
  expect(textOf(rest)).toBe('hello')
  expect(dialled).toEqual([{ path: '/run/vm.vsock' }])
})

test.each(['NO\n', `OK ${'1'.repeat(100)}\n`, 'HTTP/1.1 400 Bad Request\r\n'])(
  'the answer %j is a refusal',
  async (answer) => {
    const { dialer, say } = hypervisor()
    const connecting = hybridVsock(dialer, '/run/vm.vsock', 1024).catch((error: unknown) => error)
    say(answer)
    expect(await connecting).toMatchObject({ code: 'ECONNREFUSED', address: '/run/vm.vsock' })
  },
)

test('a hypervisor that hangs up means that nobody listens', async () => {
  const { dialer, far } = hypervisor()
  const connecting = hybridVsock(dialer, '/run/vm.vsock', 9).catch((error: unknown) => error)
  far.end()
  expect(await connecting).toMatchObject({
    code: 'ECONNREFUSED',
    port: 9,
    message: expect.stringContaining('nothing in the guest listens') as string,
  })
})

test('silence and abort give up', async () => {
  const clock = new ManualClock()
  const silent = hypervisor()
  const timed = hybridVsock(silent.dialer, '/x', 1, { clock, timeoutMs: 70 }).catch(
    (error: unknown) => error,
  )
  await settle()
  clock.advance(70)
  expect(await timed).toMatchObject({ code: 'NETKIT_HANDSHAKE_TIMEOUT' })
  const abort = new AbortController()
  const aborted = hybridVsock(hypervisor().dialer, '/x', 1, { signal: abort.signal }).catch(
    (error: unknown) => error,
  )
  await settle()
  abort.abort(new Error('enough'))
  expect(await aborted).toMatchObject({ message: 'enough' })
})

test('as a Dialer it takes vsock endpoints only', async () => {
  const { dialer, dialled, heard, say } = hypervisor()
  const vsock = hybridVsockDialer(dialer, '/run/vm.vsock')
  const connecting: Promise<ByteStream> = vsock.connect({ cid: 3, port: 22 })
  say('OK 5\n')
  const stream = await connecting
  stream.write(blockOf('hello'), 0, 5)
  await settle()
  expect(textOf(heard)).toBe('CONNECT 22\nhello')
  expect(dialled).toEqual([{ path: '/run/vm.vsock' }])
  await expect(vsock.connect({ ip: '192.0.2.1', port: 22 })).rejects.toMatchObject({
    code: 'ENOTSUP',
  })
  await expect(hybridVsock(dialer, '/x', -1)).rejects.toMatchObject({
    code: 'NETKIT_VSOCK_PORT_INVALID',
  })
})
