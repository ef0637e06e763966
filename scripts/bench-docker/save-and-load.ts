/** `docker save | docker load` of a large image. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { randomFillSync } from 'node:crypto'
import type { Readable, Writable } from 'node:stream'
import type { EngineGuest } from '@netkit/guests'

/** Bytes per second, round by round. */
export interface Transfers {
  readonly megabytes: number
  readonly direct: readonly number[]
  readonly proxied: readonly number[]
}

const IMAGE = 'netkit/large'
const MEGABYTE = 1_000_000

/** Moves the image through both docker commands, each way in turns. */
export async function saveAndLoad(
  { docker, config }: EngineGuest['client'],
  sockets: { direct: string; proxied: string },
  { megabytes, rounds }: { megabytes: number; rounds: number },
): Promise<Transfers> {
  const start = (socket: string, ...args: string[]): ReturnType<typeof spawn> =>
    spawn(docker, ['-H', `unix://${socket}`, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, DOCKER_CONFIG: config },
    })
  const making = start(sockets.direct, 'import', '-', IMAGE)
  making.stdout?.resume()
  await Promise.all([writeTar(making.stdin as Writable, megabytes * MEGABYTE), done(making)])

  const speeds = { direct: [] as number[], proxied: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    for (const way of ['direct', 'proxied'] as const) {
      const began = performance.now()
      const save = start(sockets[way], 'save', IMAGE)
      const load = start(sockets[way], 'load', '-q')
      ;(save.stdout as Readable).pipe(load.stdin as Writable)
      load.stdout?.resume()
      await Promise.all([done(save), done(load)])
      speeds[way].push((megabytes * MEGABYTE * 1000) / (performance.now() - began))
    }
  }
  return { megabytes, ...speeds }
}

async function done(child: ReturnType<typeof spawn>): Promise<void> {
  const [code] = (await once(child, 'exit')) as [number]
  if (code !== 0) throw new Error(`docker ended with status ${code}`)
}

/** A tar archive with one file of random bytes. */
async function writeTar(out: Writable, length: number): Promise<void> {
  const block = randomFillSync(new Uint8Array(MEGABYTE))
  out.write(tarHeader('large', length))
  for (let left = length; left > 0; left -= block.length) {
    // Other bytes each time, so that nothing is found to be the same.
    block[0] = (block[0] ?? 0) + 1
    if (!out.write(Uint8Array.from(block.subarray(0, Math.min(left, block.length)))))
      await once(out, 'drain')
  }
  out.end(new Uint8Array(((512 - (length % 512)) % 512) + 1024))
}

/** POSIX ustar. */
function tarHeader(name: string, length: number): Uint8Array {
  const header = new Uint8Array(512)
  const put = (text: string, at: number): void => header.set(new TextEncoder().encode(text), at)
  put(name, 0)
  put('0000644', 100)
  put('0000000', 108)
  put('0000000', 116)
  put(length.toString(8).padStart(11, '0'), 124)
  put('00000000000', 136)
  put('        ', 148)
  put('0', 156)
  put('ustar\u000000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  put(`${sum.toString(8).padStart(6, '0')}\u0000 `, 148)
  return header
}
