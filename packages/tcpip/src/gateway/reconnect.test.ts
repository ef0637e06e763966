import { memoryNetwork, NetkitError, readAll, writeAll } from '@netkit/core'
import type { ByteStream } from '@netkit/core'
import { memoryLinkPair } from '@netkit/frames'
import type { FrameLink, FrameSink, LinkState } from '@netkit/frames'
import { describe, expect, it } from 'vitest'
import { createStack } from '../stack/stack.ts'
import { createGateway } from './gateway.ts'
import type { GatewayEvent } from './gateway-events.ts'

/** A link that can be cut and mended: while it is cut, frames of both directions are lost. */
function breakable(link: FrameLink) {
  let state: LinkState = 'up'
  let sink: FrameSink | undefined
  const cut: FrameLink = {
    get mtu() {
      return link.mtu
    },
    get state() {
      return state
    },
    get credit() {
      return state === 'up' ? link.credit : 0
    },
    attach(to) {
      sink = to
      link.attach({
        frame: (block, offset, length) => {
          if (state === 'up') to.frame(block, offset, length)
        },
        batchEnd: () => to.batchEnd(),
        writable: () => {
          if (state === 'up') to.writable()
        },
        stateChanged: (to2, cause) => to.stateChanged(to2, cause),
      })
    },
    begin: (length) => (state === 'up' ? link.begin(length) : undefined),
    commit: (length) => link.commit(length),
    commitWith: (head, block, offset, length) => link.commitWith(head, block, offset, length),
    flush: () => link.flush(),
    pause: () => link.pause(),
    resume: () => link.resume(),
    stats: () => link.stats(),
    close: () => link.close(),
    [Symbol.asyncDispose]: () => link.close(),
  }
  const change = (to: LinkState, cause?: NetkitError) => {
    state = to
    sink?.stateChanged(to, cause)
    if (to === 'up') sink?.writable()
  }
  return { link: cut, change }
}

async function echo(stream: ByteStream): Promise<void> {
  await writeAll(stream, await readAll(stream))
  stream.end()
}

describe('a link that is closed for good', () => {
  it('takes its guest along: host sockets are reset at once, and the name is free', async () => {
    const host = memoryNetwork()
    const accepted: ByteStream[] = []
    await host.listen({ ip: '203.0.113.5', port: 7 }, (stream) => accepted.push(stream))
    const gateway = createGateway({ network: host })
    const [inside, outside] = memoryLinkPair()
    const { link, change } = breakable(outside)
    gateway.attach(link, { name: 'one' })
    const guest = createStack(inside, {
      addresses: ['192.168.65.3/24'],
      routers: ['192.168.65.1'],
    })
    await guest.network.connect({ ip: '203.0.113.5', port: 7 })
    change('closed', new NetkitError('NETKIT_LINK_LOST', 'The VM was killed.'))
    expect(await accepted[0]?.closed).toMatchObject({ kind: 'reset' })
    expect(gateway.guests.size).toBe(0)
    expect(gateway.attach(memoryLinkPair()[0], { name: 'one' }).state).toBe('up')
  })
})

describe('a link that reconnects', () => {
  it('keeps the flows of its guest, which go on where they were', async () => {
    const events: GatewayEvent[] = []
    const host = memoryNetwork()
    await host.listen({ ip: '203.0.113.5', port: 7 }, (stream) => void echo(stream))
    const gateway = createGateway({ network: host, onEvent: (event) => events.push(event) })
    const [inside, outside] = memoryLinkPair()
    const { link, change } = breakable(outside)
    gateway.attach(link, { name: 'one' })
    const guest = createStack(inside, {
      addresses: ['192.168.65.3/24'],
      routers: ['192.168.65.1'],
    })
    const stream = await guest.network.connect({ ip: '203.0.113.5', port: 7 })
    const received = readAll(stream)
    const sent = new Uint8Array(400_000).map((_, i) => (i * 31) ^ (i >>> 8))
    const writing = writeAll(stream, sent)
    change('reconnecting', new NetkitError('NETKIT_LINK_LOST', 'The VM is gone.'))
    expect(gateway.guests.get('one')?.state).toBe('reconnecting')
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    change('up')
    await writing
    stream.end()
    expect(Buffer.compare(await received, sent)).toBe(0)
    const guestEvents = events.flatMap((event) => (event.kind === 'guest' ? [event.event] : []))
    expect(guestEvents).toEqual(['attached', 'reconnecting', 'up'])
  })
})
