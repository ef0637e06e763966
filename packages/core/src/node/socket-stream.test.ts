import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { blockOf, type ReadTarget } from '../index.ts'
import { socketStream } from './socket-stream.ts'

describe('socketStream', () => {
  test('an inherited pipe carries bytes both ways, and both ends end', async () => {
    const echo =
      'process.stdin.destroy(); const s = new (require("net").Socket)({ fd: 3 }); s.pipe(s)'
    const child = spawn(process.execPath, ['-e', echo], {
      stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
    })
    const stream = socketStream(child.stdio[3] as Socket)
    const block = blockOf(new Uint8Array(64))
    let received = ''
    const ended = new Promise<void>((resolve) => {
      const target: ReadTarget = {
        room: () => ({ block, offset: 0, length: block.length }),
        filled: (length) =>
          void (received += Buffer.from(block.bytes.subarray(0, length)).toString()),
        end: resolve,
      }
      stream.read(target)
    })
    const message = blockOf('through descriptor 3')
    stream.write(message, 0, message.length)
    stream.end()
    await ended
    expect(received).toBe('through descriptor 3')
    expect((await stream.closed).kind).toBe('fin')
  })
})
