import { blockOf, socketError, type Acceptor, type ByteStream } from '@netkit/core'
import { expect, test } from 'vitest'
import { FrameLog, send, settle, testFrame } from '../../test/frame-log.ts'
import { ManualClock } from '../../test/manual-clock.ts'
import { streamPair, type TestStream } from '../../test/stream-pair.ts'
import { listeningLink, reconnectingLink, type ListeningLinkOptions } from './reconnecting-link.ts'

const refused = () => socketError('ECONNREFUSED', { syscall: 'connect', address: '/run/vm.sock' })

function sendU32be(stream: TestStream, frame: Uint8Array): void {
  stream.write(blockOf(Uint8Array.from([0, 0, 0, frame.length, ...frame])), 0, frame.length + 4)
}

/** A link whose `open` answers as the test says: a stream, or a refusal. */
function dialling(options: { maxAttempts?: number } = {}) {
  const clock = new ManualClock()
  const answers: (TestStream | 'refused')[] = []
  let opened = 0
  const link = reconnectingLink({
    clock,
    ...options,
    async open() {
      opened++
      // The first attempt starts with the link, before the test has said anything.
      await Promise.resolve()
      const answer = answers.shift() ?? 'refused'
      if (answer === 'refused') throw refused()
      return answer
    },
  })
  const log = new FrameLog()
  link.attach(log)
  return { clock, answers, link, log, attempts: () => opened }
}

test('attempts that fail are repeated after 100, 200, 400 ms … at most 5 s', async () => {
  const { clock, link } = dialling()
  const waits: number[] = []
  for (let i = 0; i < 9; i++) {
    await settle()
    waits.push(...clock.pending)
    clock.advance(clock.pending[0] ?? 0)
  }
  expect(waits).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000])
  expect(link.state).toBe('reconnecting')
  expect(link.snapshot()).toMatchObject({ connections: 0, lastError: { code: 'ECONNREFUSED' } })
  await link.close()
  expect(clock.pending).toEqual([])
})

test('a stream that is lost is replaced: the parser is clean, the sink is told, credit returns', async () => {
  const { clock, answers, link, log } = dialling()
  const [near, far] = streamPair()
  const [near2, far2] = streamPair()
  answers.push('refused', near, near2)
  await settle()
  expect(link.begin(60)).toBeUndefined()
  clock.advance(100)
  await settle()
  expect(log.states).toEqual(['up'])
  expect(log.writables).toBe(1)
  sendU32be(far, testFrame(0))
  // Half a frame, and the peer is gone.
  far.write(blockOf(Uint8Array.from([0, 0, 0, 60, 1, 2, 3])), 0, 7)
  await settle()
  clock.advance(5000)
  far.reset()
  await settle()
  expect(log.states).toEqual(['up', 'reconnecting NETKIT_LINK_PEER_CLOSED'])
  expect([link.credit, link.begin(60)]).toEqual([0, undefined])
  expect(clock.pending).toEqual([0])
  clock.advance(0)
  await settle()
  expect(link.state).toBe('up')
  sendU32be(far2, testFrame(1))
  await settle()
  expect(log.frames).toEqual([testFrame(0), testFrame(1)])
  expect(link.stats().dropped).toMatchObject({ truncated: 1 })
  expect(send(link, testFrame(2))).toBe(true)
  expect(link.snapshot()).toMatchObject({ connections: 2, failures: 0 })
  await link.close()
})

test('a frame that was queued for the former peer does not reach the next one', async () => {
  const { clock, answers, link } = dialling()
  const [near] = streamPair()
  const [near2, far2] = streamPair()
  answers.push(near, near2)
  await settle()
  send(link, testFrame(0))
  near.reset()
  await settle()
  clock.advance(100)
  await settle()
  send(link, testFrame(1))
  link.flush()
  await settle()
  // 4 + 60 bytes of the second frame, nothing of the first.
  expect(far2.isClosed).toBe(false)
  expect(near2.queued).toBe(64)
  await link.close()
})

test('a peer that accepts and hangs up at once is not dialled at full speed', async () => {
  const { clock, answers, link, attempts } = dialling()
  for (let i = 0; i < 5; i++) {
    const [near, far] = streamPair()
    answers.push(near)
    await settle()
    clock.advance(clock.pending[0] ?? 0)
    await settle()
    far.reset()
    await settle()
  }
  expect(clock.now()).toBeGreaterThan(1000)
  expect(attempts()).toBeLessThan(8)
  await link.close()
})

test('after the last allowed attempt the link closes, and says why', async () => {
  const { clock, link, log } = dialling({ maxAttempts: 2 })
  await settle()
  clock.advance(100)
  await settle()
  expect(link.state).toBe('closed')
  expect(log.states).toEqual(['closed NETKIT_LINK_UNREACHABLE'])
  expect(log.cause?.message).toContain('ECONNREFUSED')
  expect(clock.pending).toEqual([])
})

test('closing while dialling aborts the attempt, and a stream that still comes is reset', async () => {
  const [near] = streamPair()
  let aborted = false
  const held: { resolve?: (stream: ByteStream) => void } = {}
  const link = reconnectingLink({
    open: (signal) => {
      signal.addEventListener('abort', () => (aborted = true))
      return new Promise((resolve) => (held.resolve = resolve))
    },
  })
  await link.close()
  expect(aborted).toBe(true)
  held.resolve?.(near)
  await settle()
  expect(near.isClosed).toBe(true)
  expect(link.state).toBe('closed')
})

async function listening(options: Partial<ListeningLinkOptions> = {}) {
  const held: { accept?: (stream: ByteStream) => void; open: boolean } = { open: true }
  const clock = new ManualClock()
  const acceptor: Acceptor = {
    listen(at, run) {
      held.accept = run
      const close = (): Promise<void> => {
        held.open = false
        return Promise.resolve()
      }
      return Promise.resolve({ address: at, close, [Symbol.asyncDispose]: close })
    },
  }
  const link = await listeningLink({
    acceptor,
    at: { path: '/run/netkit.sock' },
    clock,
    ...options,
  })
  const log = new FrameLog()
  link.attach(log)
  const dial = async (): Promise<TestStream> => {
    const [near, far] = streamPair()
    held.accept?.(near)
    await settle()
    return far
  }
  return { link, log, dial, clock, isOpen: () => held.open }
}

test('a listening link serves one peer after the other and refuses a second one', async () => {
  const { link, log, dial, isOpen } = await listening()
  expect(link.address).toEqual({ path: '/run/netkit.sock' })
  expect(link.state).toBe('reconnecting')
  const first = await dial()
  const second = await dial()
  expect(second.isClosed).toBe(true)
  sendU32be(first, testFrame(0))
  await settle()
  first.reset()
  await settle()
  expect(link.state).toBe('reconnecting')
  const third = await dial()
  sendU32be(third, testFrame(1))
  await settle()
  expect(log.frames).toEqual([testFrame(0), testFrame(1)])
  expect(link.snapshot()).toMatchObject({ connections: 2, refused: 1 })
  await link.close()
  expect([isOpen(), third.isClosed]).toEqual([false, true])
  expect((await dial()).isClosed).toBe(true)
})

test('with replace, a newcomer takes the former peer’s place', async () => {
  const { link, log, dial } = await listening({ whenBusy: 'replace' })
  const first = await dial()
  const second = await dial()
  expect(first.isClosed).toBe(true)
  sendU32be(second, testFrame(1))
  await settle()
  expect(log.frames).toEqual([testFrame(1)])
  expect(log.states).toEqual(['up', 'reconnecting NETKIT_LINK_PEER_CLOSED', 'up'])
  await link.close()
})

test('a failed handshake ends that connection alone', async () => {
  let fail = true
  const { link, dial, clock } = await listening({
    handshake: (stream) =>
      fail ? Promise.reject(new Error('who are you?')) : Promise.resolve(stream),
  })
  const first = await dial()
  expect(link.state).toBe('reconnecting')
  clock.advance(1000)
  expect(first.isClosed).toBe(true)
  fail = false
  await dial()
  expect(link.state).toBe('up')
  expect(link.snapshot()).toMatchObject({ failedHandshakes: 1, connections: 1 })
  await link.close()
})
