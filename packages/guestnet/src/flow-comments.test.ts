import { egressRules, ManualClock, memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { Block } from '@netkit/core'
import { captured, memoryLinkPair } from '@netkit/frames'
import type { PacketCapture } from '@netkit/frames'
import { createStack } from '@netkit/tcpip'
import { expect, test } from 'vitest'
import { flowComments } from './flow-comments.ts'
import { createGuestNetwork } from './guest-network.ts'

/** Keeps the comments that a capture is given, with their direction, and nothing else. */
function commentsOnly(): PacketCapture & { readonly seen: string[] } {
  const seen: string[] = []
  return {
    seen,
    addInterface: () => 0,
    record(_id, direction, _block: Block, _offset, _length, comment) {
      if (comment !== undefined) seen.push(`${direction} ${comment}`)
    },
  }
}

test('a capture says why a flow went where it went, and how it ended', async () => {
  const host = memoryNetwork()
  await host.listen({ ip: '203.0.113.5', port: 80 }, (stream) => {
    void writeAll(stream, 'hello').then(() => stream.end())
  })
  const policy = egressRules([
    { action: 'allow', name: 'the web', ports: [80] },
    { action: 'deny', name: 'nothing else' },
  ])
  await using network = await createGuestNetwork({
    host,
    policy,
    hostPrefixes: [],
    dns: false,
    proxy: false,
    ipv6: 'off',
    clock: new ManualClock(),
  })
  const [cable, link] = memoryLinkPair()
  const capture = commentsOnly()
  const comment = flowComments(network.gateway)
  network.attach(captured(link, capture, { name: 'vm', comment }), { name: 'vm' })
  await using stack = createStack(cable, {
    addresses: ['192.168.65.3/24'],
    routers: ['192.168.65.1'],
  })
  const stream = await stack.network.connect({ ip: '203.0.113.5', port: 80 })
  expect((await readAll(stream)).length).toBe(5)
  stream.end()
  await stream.closed
  await expect(stack.network.connect({ ip: '203.0.113.5', port: 81 })).rejects.toMatchObject({
    code: 'ECONNREFUSED',
  })
  const [synAck, ...others] = capture.seen
  expect(synAck).toBe("out flow 1 of vm: dial by 'the web'; the host connected in 0.0 ms")
  expect(
    others.filter((text) => text.startsWith("in flow 1 of vm: dial by 'the web'; 0 bytes")),
  ).toHaveLength(1)
  expect(others.at(-1)).toBe(
    "out flow 2 of vm: dial by 'nothing else'; 0 bytes from the guest, 0 to it",
  )
})
