/** The contract of docs/stdio-helper.md, with a helper that is no part of netkit. */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { socketStream } from '@netkit/core/node'
import { expect, test } from 'vitest'
import { streamLink, twoWayStream, u16le, u32be, type Framing } from '../src/index.ts'
import { FrameLog, send, testFrame } from './frame-log.ts'

const why = spawnSync('python3', ['-V']).status === 0 ? undefined : 'python3 is not installed'
const needed = { skip: why !== undefined, meta: { skipReason: why } }

const HELPER = `
import sys, struct
fmt, size = sys.argv[1], struct.calcsize(sys.argv[1])
while True:
    head = sys.stdin.buffer.read(size)
    if len(head) < size: sys.exit(0)
    frame = sys.stdin.buffer.read(struct.unpack(fmt, head)[0])
    if frame[:4] == b'quit': sys.exit(4)
    sys.stdout.buffer.write(head + frame); sys.stdout.buffer.flush()
`

function helper(framing: Framing) {
  const child = spawn('python3', ['-c', HELPER, framing === u16le ? '<H' : '>I'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  // Node declares them as streams; a pipe of a child is a socket.
  const [output, input] = [child.stdout, child.stdin] as unknown as [Socket, Socket]
  const link = streamLink(twoWayStream(socketStream(output), socketStream(input)), { framing })
  const log = new FrameLog()
  link.attach(log)
  return { child, link, log }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

test.each([u16le, u32be])(
  'a helper carries frames both ways in $name, and ends with status 0 when the link closes',
  needed,
  async (framing) => {
    const { child, link, log } = helper(framing)
    const frames = [60, 1514, 14].map((length, i) => testFrame(i, length))
    for (const frame of frames) expect(send(link, frame)).toBe(true)
    link.flush()
    await until(() => log.frames.length === 3)
    expect(log.frames).toEqual(frames)
    const ended = once(child, 'exit')
    await link.close()
    expect((await ended)[0]).toBe(0)
  },
)

test('a helper that ends closes the link with a cause', needed, async () => {
  const { child, link, log } = helper(u16le)
  const ended = once(child, 'exit')
  const quit = testFrame(0)
  quit.set(new TextEncoder().encode('quit'))
  send(link, quit)
  link.flush()
  expect((await ended)[0]).toBe(4)
  await until(() => link.state === 'closed')
  expect(log.states).toEqual(['closed NETKIT_LINK_PEER_CLOSED'])
})
