import { execFileSync, spawnSync } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { blockOf } from '@netkit/core'
import { afterEach, describe, expect, test } from 'vitest'
import { FrameLog, send } from '../../test/frame-log.ts'
import { describeFrame } from '../capture/describe-frame.ts'
import { ArpView, ETHER_TYPE, encodeArp, encodeEthernet, ARP_OPERATION } from '../index.ts'
import { openRootlessTap, openTap, type TapLink } from './tap-link.ts'

const namespaces: string[] = []
afterEach(() => {
  for (const name of namespaces.splice(0)) spawnSync('ip', ['netns', 'delete', name])
})

const why =
  process.platform !== 'linux'
    ? 'TAP is Linux’s'
    : process.getuid?.() !== 0
      ? 'it needs root'
      : spawnSync('ip', ['-V']).status !== 0
        ? 'iproute2 is not installed'
        : spawnSync('python3', ['-V']).status !== 0
          ? 'python3 is not installed'
          : undefined
const needed = { skip: why !== undefined, meta: { skipReason: why } }

const OUR_MAC = 0x02_00_00_00_00_02
const OUR_IP = 0xc6_12_07_02 // 198.18.7.2

/** Answers ARP for 198.18.7.2 and hands the other frames on. */
class ArpAnswer extends FrameLog {
  readonly #link: TapLink
  readonly #view = new ArpView()

  constructor(link: TapLink) {
    super()
    this.#link = link
    this.onFrame = (block, offset, length) => {
      if (block.view.getUint16(offset + 12) !== ETHER_TYPE.arp) {
        this.frames.push(block.bytes.slice(offset, offset + length))
        return
      }
      const arp = this.#view.at(block, offset + 14, length - 14)
      if (arp.check() !== undefined || arp.targetIp !== OUR_IP) return
      const room = link.begin(42)
      if (room === undefined) return
      const { senderMac: guest } = arp
      encodeEthernet(
        { destination: guest, source: OUR_MAC, etherType: ETHER_TYPE.arp },
        room.block,
        room.offset,
      )
      encodeArp(
        {
          operation: ARP_OPERATION.reply,
          senderMac: OUR_MAC,
          senderIp: OUR_IP,
          targetMac: guest,
          targetIp: arp.senderIp,
        },
        room.block,
        room.offset + 14,
      )
      link.commit(42)
    }
  }

  override batchEnd(): void {
    super.batchEnd()
    this.#link.flush()
  }
}

/** Frames as lines, those of IPv6's own chatter left out. */
const linesOf = (log: FrameLog): string[] =>
  log.frames
    .filter((frame) => frame[12] === 0x08)
    .map((frame) => describeFrame(blockOf(frame), 0, frame.length))

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

const UDP_BURST = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(int(sys.argv[1])): s.sendto(bytes([i % 256]) * 1000, ('198.18.7.2', 9))
`

async function tapIn(): Promise<{ link: TapLink; inside: (...command: string[]) => string }> {
  const netns = `netkit-${process.pid}-${namespaces.length}`
  execFileSync('ip', ['netns', 'add', netns])
  namespaces.push(netns)
  const link = await openTap({ netns, name: 'nk0' })
  const inside = (...command: string[]): string =>
    execFileSync('ip', ['netns', 'exec', netns, ...command], { encoding: 'utf8' })
  inside('ip', 'address', 'add', '198.18.7.1/24', 'dev', 'nk0')
  inside('ip', 'link', 'set', 'nk0', 'up')
  return { link, inside }
}

describe('a TAP in a network namespace', needed, () => {
  test('its namespace’s kernel sends and receives frames, and this thread is back at home', async () => {
    const home = readlinkSync('/proc/thread-self/ns/net')
    const { link, inside } = await tapIn()
    expect(link.name).toBe('nk0')
    expect(inside('ip', 'link', 'show', 'nk0')).toContain('qlen 10000')
    expect(readlinkSync('/proc/thread-self/ns/net')).toBe(home)
    const log = new ArpAnswer(link)
    link.attach(log)
    inside('python3', '-c', UDP_BURST, '3')
    await until(() => linesOf(log).length === 3)
    for (const line of linesOf(log))
      expect(line).toMatch(/^198\.18\.7\.1:\d+ > 198\.18\.7\.2:9 UDP, 1000 bytes$/)
    expect(inside('ip', 'neighbour', 'show', 'dev', 'nk0')).toContain(
      '198.18.7.2 lladdr 02:00:00:00:00:02',
    )
    await link.close()
    await link.close()
    expect(() => inside('ip', 'link', 'show', 'nk0')).toThrow('does not exist')
  })

  test('a burst arrives whole and in order, in batches', async () => {
    const { link, inside } = await tapIn()
    const log = new ArpAnswer(link)
    link.attach(log)
    inside('python3', '-c', UDP_BURST, '1')
    await until(() => linesOf(log).length === 1)
    log.batches.length = 0
    // Nothing is read while python runs, and the kernel's own queue would hold 500.
    inside('python3', '-c', UDP_BURST, '3000')
    await until(() => linesOf(log).length === 3001)
    const payloads = log.frames.filter((frame) => frame[12] === 0x08).slice(1)
    expect(payloads.map((frame) => frame[42])).toEqual(
      Array.from({ length: 3000 }, (_, i) => i % 256),
    )
    expect(Math.max(...log.batches)).toBeGreaterThan(100)
    expect(Math.max(...log.batches)).toBeLessThanOrEqual(256)
    await link.close()
  })

  test('while the interface is down, outgoing frames are counted as unsent', async () => {
    const { link, inside } = await tapIn()
    link.attach(new FrameLog())
    inside('ip', 'link', 'set', 'nk0', 'down')
    send(link, new Uint8Array(60))
    link.flush()
    expect(link.unsent).toBe(1)
    expect(link.state).toBe('up')
    await link.close()
  })

  test('a namespace that does not exist and a name in use are named', async () => {
    await expect(openTap({ netns: 'netkit-nowhere' })).rejects.toMatchObject({
      code: 'NETKIT_TAP_NAMESPACE',
      message: expect.stringContaining('/run/netns/netkit-nowhere') as string,
    })
    const { link } = await tapIn()
    await expect(openTap({ netns: namespaces[0] ?? '', name: 'nk0' })).rejects.toMatchObject({
      code: 'NETKIT_TAP_UNAVAILABLE',
      message: expect.stringContaining('another name') as string,
    })
    await link.close()
  })

  test('a TAP in a user namespace of its own needs no privileges and goes with its link', async () => {
    const link = await openRootlessTap({ name: 'nk1' })
    const inside = (command: string): string =>
      execFileSync(
        'nsenter',
        ['-t', String(link.pid), '-U', '-n', '--preserve-credentials', 'sh', '-c', command],
        { encoding: 'utf8' },
      )
    inside('ip address add 198.18.7.1/24 dev nk1 && ip link set nk1 up')
    const log = new ArpAnswer(link)
    link.attach(log)
    inside(`python3 -c "${UDP_BURST}" 2`)
    await until(() => linesOf(log).length === 2)
    await link.close()
    expect(() => process.kill(link.pid, 0)).toThrow('ESRCH')
  })
})

const elsewhere = process.platform === 'linux' ? undefined : 'TAP is Linux’s'
const linux = { skip: elsewhere !== undefined, meta: { skipReason: elsewhere } }
test('a name that cannot be one is refused', linux, async () => {
  await expect(openTap({ name: 'a/b' })).rejects.toMatchObject({ code: 'NETKIT_TAP_NAME' })
  await expect(openRootlessTap({ name: 'x'.repeat(16) })).rejects.toMatchObject({
    code: 'NETKIT_TAP_NAME',
  })
})
