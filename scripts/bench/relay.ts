/**
 * The yardstick: a Node program that only carries frames between two sockets and looks at each frame's header. No stack in
 * TypeScript can be expected to beat it by much, and every machine has it, so the tables quote stacks in units of it.
 *
 *   node relay.ts SOCKET SOCKET
 */

import { connect, type Socket } from 'node:net'

const chunkBytes = 256 * 1024
// `write()` says false for every chunk above the stream's own mark even when the kernel took it all; our limit is on what really waits.
const queuedLimit = 1024 * 1024

/** Walks the length prefixes of a stream across chunk borders and counts IPv4 frames. */
function frameWalker(): (bytes: Uint8Array, length: number) => number {
  let prefix = 0
  let prefixBytes = 0
  let skip = 0
  let ipv4 = 0
  return (bytes, length) => {
    let at = 0
    while (at < length) {
      if (skip > 0) {
        const step = Math.min(skip, length - at)
        skip -= step
        at += step
        continue
      }
      prefix = ((prefix << 8) | (bytes[at++] ?? 0)) >>> 0
      if (++prefixBytes === 4) {
        skip = prefix
        if (bytes[at + 12] === 8 && bytes[at + 13] === 0) ipv4++
        prefix = prefixBytes = 0
      }
    }
    return ipv4
  }
}

function open(path: string, forward: (chunk: Uint8Array, written: () => void) => boolean): Socket {
  const idle: Uint8Array[] = []
  const walk = frameWalker()
  const socket = connect({
    path,
    onread: {
      buffer: () => idle.pop() ?? Buffer.allocUnsafeSlow(chunkBytes),
      callback(length, buffer) {
        walk(buffer, length)
        return forward(buffer.subarray(0, length), () => idle.push(buffer))
      },
    },
  })
  socket.on('error', (error) => {
    process.stderr.write(`relay: ${path}: ${error.message}\n`)
    process.exit(1)
  })
  socket.on('close', () => process.exit(0))
  return socket
}

function send(to: Socket, chunk: Uint8Array, written: () => void): boolean {
  to.write(chunk, written)
  return to.writableLength < queuedLimit
}

const [left, right] = process.argv.slice(2)
if (left === undefined || right === undefined) {
  process.stderr.write('usage: relay.ts SOCKET SOCKET\n')
  process.exit(2)
}
const a: Socket = open(left, (chunk, written) => send(b, chunk, written))
const b: Socket = open(right, (chunk, written) => send(a, chunk, written))
a.on('drain', () => b.resume())
b.on('drain', () => a.resume())
