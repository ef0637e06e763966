import {
  blockOf,
  isNetkitError,
  memoryNetwork,
  memoryStreamPair,
  readAll,
  writeAll,
  ManualClock,
} from '@netkit/core'
import type { ByteStream, Network } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { createPortBroker, openForwarderMux, serveForwarder } from './index.ts'
import type { ForwarderMux, ForwarderMuxOptions, MuxIncoming } from './index.ts'
import {
  encodeMuxHandshake,
  encodeMuxOpen,
  encodeMuxWindow,
  MUX_MAGIC,
  writeMuxData,
} from './mux-frame.ts'

const WEB = { ip: '127.0.0.1', port: 80 }
const text = (value: string): Uint8Array => new TextEncoder().encode(value)

interface Ends {
  guest: Network
  mux: ForwarderMux
  agent: ForwarderMux
}

async function ends(options: ForwarderMuxOptions = {}): Promise<Ends> {
  const guest = memoryNetwork()
  const [near, far] = memoryStreamPair()
  const [mux, agent] = await Promise.all([
    openForwarderMux(near, options),
    serveForwarder(far, guest, { ...(options.limits && { limits: options.limits }) }),
  ])
  return { guest, mux, agent }
}

async function echo(stream: ByteStream): Promise<void> {
  await writeAll(stream, await readAll(stream))
  stream.end()
}

const echoIncoming = (incoming: MuxIncoming): void => {
  if (incoming.protocol !== 'udp') void echo(incoming.stream)
}

const data = (id: number, length: number): Uint8Array => {
  const frame = new Uint8Array(11)
  writeMuxData(new DataView(frame.buffer), 0, id, length)
  return frame
}

const failure = async (promise: Promise<unknown>): Promise<{ code: string; message: string }> =>
  await promise.then(
    () => {
      throw new Error('did not fail')
    },
    (error: unknown) => error as { code: string; message: string },
  )

/** A peer whose bytes the test writes itself. */
async function rawPeer(
  options: ForwarderMuxOptions = {},
): Promise<{ mux: ForwarderMux; peer: ByteStream }> {
  const [near, peer] = memoryStreamPair()
  await writeAll(peer, encodeMuxHandshake())
  return { mux: await openForwarderMux(near, options), peer }
}

describe('streams', () => {
  test('the client’s half-close reaches the service, and its answer comes back', async () => {
    const { guest, mux, agent } = await ends()
    await guest.listen(WEB, (stream) => void echo(stream))
    const stream = await mux.connect(WEB)
    await writeAll(stream, text('ping'))
    stream.end()
    expect(new TextDecoder().decode(await readAll(stream))).toBe('ping')
    expect(await stream.closed).toMatchObject({ kind: 'fin', by: 'local' })
    await expect.poll(() => [mux.stats().channels, agent.stats().channels]).toEqual([0, 0])
  })

  test('a service that ends first: fin by remote', async () => {
    const { guest, mux } = await ends()
    await guest.listen(
      WEB,
      (stream) => void writeAll(stream, text('bye')).finally(() => stream.end()),
    )
    const stream = await mux.connect(WEB)
    expect(new TextDecoder().decode(await readAll(stream))).toBe('bye')
    stream.end()
    expect(await stream.closed).toMatchObject({ kind: 'fin', by: 'remote' })
  })

  test('a unix socket in the guest', async () => {
    const { guest, mux } = await ends()
    await guest.listen({ path: '/run/docker.sock' }, (stream) => void echo(stream))
    const stream = await mux.connect({ path: '/run/docker.sock' })
    await writeAll(stream, text('ping'))
    stream.end()
    expect(new TextDecoder().decode(await readAll(stream))).toBe('ping')
  })

  test('10 MB arrive intact through a small window, beside a stream that nobody reads', async () => {
    const { guest, mux } = await ends({ limits: { windowBytes: 20_000, queueBytes: 50_000 } })
    const bytes = new Uint8Array(10_000_000).map((_, i) => (i * 7 + (i >> 8)) & 255)
    const sent: Promise<unknown>[] = []
    await guest.listen(
      WEB,
      (stream) => void sent.push(writeAll(stream, bytes).finally(() => stream.end())),
    )
    const unread = await mux.connect(WEB)
    const stream = await mux.connect(WEB)
    const received = await readAll(stream)
    expect(received.length).toBe(bytes.length)
    expect(Buffer.compare(received, bytes)).toBe(0)
    unread.reset()
    const outcomes = await Promise.allSettled(sent)
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  })

  test('a port nobody listens on resets the stream', async () => {
    const { mux } = await ends()
    const stream = await mux.connect(WEB)
    expect(await stream.closed).toMatchObject({ kind: 'reset', by: 'remote' })
  })

  test('a reset crosses over', async () => {
    const { guest, mux, agent } = await ends()
    const accepted = new Promise<ByteStream>((resolve) => void guest.listen(WEB, resolve))
    const stream = await mux.connect(WEB)
    const service = await accepted
    stream.reset()
    expect((await service.closed).kind).toBe('reset')
    await expect.poll(() => [mux.stats().channels, agent.stats().channels]).toEqual([0, 0])
  })

  test('both ends may dial at the same time', async () => {
    const [near, far] = memoryStreamPair()
    const [a, b] = await Promise.all([
      openForwarderMux(near, { accept: echoIncoming }),
      openForwarderMux(far, { accept: echoIncoming, ids: 'down' }),
    ])
    const answers = [a, b, a, b].map(async (mux, i) => {
      const stream = await mux.connect(WEB)
      await writeAll(stream, text(`${i}`))
      stream.end()
      return new TextDecoder().decode(await readAll(stream))
    })
    expect(await Promise.all(answers)).toEqual(['0', '1', '2', '3'])
  })

  test('dialling as somebody else, vsock, or after the end is refused', async () => {
    const { mux } = await ends()
    expect((await failure(mux.connect(WEB, { from: { ip: '198.18.0.1', port: 1 } }))).code).toBe(
      'EADDRNOTAVAIL',
    )
    expect((await failure(mux.connect({ cid: 3, port: 1 }))).code).toBe('ENOTSUP')
    await mux.close()
    await mux.close()
    expect((await failure(mux.connect(WEB))).code).toBe('ENETDOWN')
  })
})

describe('datagrams', () => {
  test('go to the service and come back', async () => {
    const { guest, mux } = await ends()
    const service = await guest.bind({ ip: '127.0.0.1', port: 53 })
    service.onMessage((bytes, from) => service.send(blockOf(bytes.slice()), 0, bytes.length, from))
    const port = await mux.bind(
      { ip: '0.0.0.0', port: 0 },
      { connected: { ip: '127.0.0.1', port: 53 } },
    )
    const answers: string[] = []
    port.onMessage((bytes) => answers.push(new TextDecoder().decode(bytes)))
    for (const word of ['one', '', 'three']) port.send(blockOf(word), 0, word.length)
    await expect.poll(() => answers).toEqual(['one', '', 'three'])
  })

  test('a broker publishes UDP and TCP through the multiplexer', async () => {
    const { guest, mux } = await ends()
    const host = memoryNetwork()
    await using broker = createPortBroker({ host })
    await guest.listen(WEB, (stream) => void echo(stream))
    const service = await guest.bind({ ip: '127.0.0.1', port: 53 })
    service.onMessage((bytes, from) => service.send(blockOf(bytes.slice()), 0, bytes.length, from))
    const lease = await broker.reserve(
      [
        { protocol: 'tcp', ip: '127.0.0.1', port: 8080 },
        { protocol: 'udp', ip: '127.0.0.1', port: 5353 },
      ],
      { owner: 'web' },
    )
    const preserveSource = { except: [] }
    await lease.commit([
      { network: mux, to: WEB, preserveSource },
      { network: mux, to: { ip: '127.0.0.1', port: 53 }, preserveSource },
    ])
    const stream = await host.connect({ ip: '127.0.0.1', port: 8080 })
    await writeAll(stream, text('ping'))
    stream.end()
    expect(new TextDecoder().decode(await readAll(stream))).toBe('ping')
    const client = await host.bind({ ip: '127.0.0.1', port: 0 })
    const answer = new Promise((resolve) => client.onMessage((bytes) => resolve(bytes.slice())))
    client.send(blockOf('hi'), 0, 2, { ip: '127.0.0.1', port: 5353 })
    expect(await answer).toEqual(text('hi'))
  })
})

describe('a peer that cannot be trusted', () => {
  test.each([
    ['a frame that makes no sense', () => [Uint8Array.of(7, 0, 99, 0, 0, 0, 0)]],
    ['which does not exist', () => [encodeMuxWindow(77, 1000)]],
    ['opened twice', () => [1, 1].map((id) => encodeMuxOpen(id, { protocol: 'tcp', to: WEB }))],
    [
      'more data on connection 1',
      () => [encodeMuxOpen(1, { protocol: 'tcp', to: WEB }), data(1, 300_000)],
    ],
  ])('%s: the connection is cut', async (words, frames) => {
    const streams: ByteStream[] = []
    const accept = (incoming: MuxIncoming): void => {
      if (incoming.protocol !== 'udp') streams.push(incoming.stream)
    }
    const { mux, peer } = await rawPeer({ accept })
    for (const frame of frames()) await writeAll(peer, frame)
    const error = await mux.closed
    expect(isNetkitError(error, 'NETKIT_MUX_PROTOCOL')).toBe(true)
    expect(error?.message).toContain(words)
    for (const stream of streams) expect((await stream.closed).kind).toBe('reset')
  })

  test('a flood of connections is closed beyond the limit', async () => {
    const { mux, peer } = await rawPeer({ accept: () => undefined, limits: { maxChannels: 2 } })
    for (let id = 0; id < 5; id++)
      await writeAll(peer, encodeMuxOpen(id, { protocol: 'tcp', to: WEB }))
    await expect.poll(() => mux.stats().accepted).toBe(2)
    peer.reset()
    await mux.closed
  })

  test('a greeting of another protocol', async () => {
    const [near, peer] = memoryStreamPair()
    await writeAll(peer, text('HTTP/1.1 400 Bad Request\r\n'))
    expect(isNetkitError(await failure(openForwarderMux(near)), 'NETKIT_MUX_HANDSHAKE')).toBe(true)
  })

  test('a greeting in single bytes, with a payload', async () => {
    const [near, peer] = memoryStreamPair()
    const opening = openForwarderMux(near)
    for (const byte of [...MUX_MAGIC, 3, 0, 1, 2, 3]) await writeAll(peer, Uint8Array.of(byte))
    expect((await opening).stats().channels).toBe(0)
  })

  test('silence ends the handshake', async () => {
    const clock = new ManualClock()
    const [near] = memoryStreamPair()
    const opening = failure(openForwarderMux(near, { clock }))
    await clock.advance(10_000)
    expect((await opening).message).toContain('did not answer')
  })

  test('a lost connection resets every stream', async () => {
    const { mux, peer } = await rawPeer()
    const stream = await mux.connect(WEB)
    peer.reset()
    expect((await stream.closed).kind).toBe('reset')
    expect(mux.stats().channels).toBe(0)
  })
})
