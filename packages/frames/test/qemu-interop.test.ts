/**
 * QEMU's own netdevs at the other end, without a VM: a QEMU with no machine joins two netdevs in a hub, so that what one link sends
 * through QEMU's framing the other link receives.
 *
 * ```
 *   listeningLink ── unix stream ── [ netdev stream │ hub │ netdev dgram ] ── unix datagrams ── openUnixDatagram
 * ```
 */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hostNetwork } from '@netkit/core/node'
import { expect, test } from 'vitest'
import { openUnixDatagram } from '../src/dgram/index.ts'
import { listeningLink } from '../src/index.ts'
import { FrameLog, send, testFrame } from './frame-log.ts'

const qemu = 'qemu-system-x86_64'
const version = spawnSync(qemu, ['-version'], { encoding: 'utf8' })
const major = Number(
  /version (\d+)\.(\d+)/
    .exec(version.stdout ?? '')
    ?.slice(1)
    .join('.') ?? 0,
)
const why =
  version.status !== 0
    ? `${qemu} is not installed`
    : major < 7.2
      ? 'QEMU is older than 7.2'
      : undefined
const needed = { skip: why !== undefined, meta: { skipReason: why } }

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

/** Frames other than those that only ask whether the way is open. */
const marked = (log: FrameLog): Uint8Array[] => log.frames.filter((frame) => frame.length !== 99)

test(
  'frames pass QEMU’s stream and dgram netdevs both ways, and QEMU’s end leaves the link reconnecting',
  needed,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nk-'))
    const [streamPath, ours, theirs] = ['stream', 'ours', 'theirs'].map((name) =>
      join(folder, name),
    )
    if (streamPath === undefined || ours === undefined || theirs === undefined) return
    const link = await listeningLink({ acceptor: hostNetwork(), at: { path: streamPath } })
    const datagrams = await openUnixDatagram({ path: ours, peer: theirs })
    const [atLink, atDatagrams] = [new FrameLog(), new FrameLog()]
    link.attach(atLink)
    datagrams.attach(atDatagrams)
    const child = spawn(
      qemu,
      [
        '-M none -display none -monitor none -nodefaults',
        `-netdev stream,id=s,server=off,addr.type=unix,addr.path=${streamPath}`,
        '-netdev hubport,id=a,hubid=0,netdev=s',
        `-netdev dgram,id=d,local.type=unix,local.path=${theirs},remote.type=unix,remote.path=${ours}`,
        '-netdev hubport,id=b,hubid=0,netdev=d',
      ].flatMap((words) => words.split(' ')),
      { stdio: ['ignore', 'ignore', 'inherit'] },
    )
    const ended = once(child, 'exit')
    try {
      await until(() => link.state === 'up')
      // From here on both netdevs exist; QEMU drops what comes before its hub is joined.
      while (atDatagrams.frames.length === 0) {
        send(link, testFrame(0, 99))
        link.flush()
        await new Promise((resolve) => setImmediate(resolve))
      }
      const lengths = [14, 60, 1000, 1514]
      for (const [i, length] of lengths.entries()) send(link, testFrame(i, length))
      link.flush()
      await until(() => marked(atDatagrams).length === lengths.length)
      expect(marked(atDatagrams)).toEqual(lengths.map((length, i) => testFrame(i, length)))
      while (atLink.frames.length === 0) {
        send(datagrams, testFrame(0, 99))
        datagrams.flush()
        await new Promise((resolve) => setImmediate(resolve))
      }
      for (const [i, length] of lengths.entries()) send(datagrams, testFrame(i, length))
      datagrams.flush()
      await until(() => marked(atLink).length === lengths.length)
      expect(marked(atLink)).toEqual(lengths.map((length, i) => testFrame(i, length)))
    } finally {
      child.kill('SIGKILL')
      await ended
    }
    await until(() => link.state === 'reconnecting')
    expect(atLink.states).toEqual(['up', 'reconnecting NETKIT_LINK_PEER_CLOSED'])
    await Promise.all([link.close(), datagrams.close()])
    rmSync(folder, { recursive: true })
  },
)
