/** Every link of this package passes the suite of its contract. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import { memoryNetwork, memoryStreamPair, seededRandom, systemClock } from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import { describe, test } from 'vitest'
import { frameLinkCompliance, type FrameLinkSubject } from '../src/compliance/index.ts'
import { openUnixDatagram } from '../src/dgram/index.ts'
import {
  captured,
  datagramLink,
  dialVmn3t,
  impair,
  listeningLink,
  memoryLinkPair,
  messageLink,
  messagePort,
  pcapRing,
  reconnectingLink,
  serveVmn3t,
  streamLink,
  u16le,
  u32be,
  type Framing,
} from '../src/index.ts'

const runner = { describe, test }
const noPause = {
  test: 'begin succeeds within the credit; without credit writable follows',
  reason: 'the medium does not say what its peer has not taken',
}
const lossy = {
  test: 'a thousand frames in one flush arrive in order',
  reason: 'the kernel drops datagrams beyond its receive buffer',
}
const noEnd = { test: 'the peer’s close is told with a cause', reason: 'datagrams have no end' }

for (const delivery of ['defer', 'sync'] as const) {
  frameLinkCompliance(runner, {
    name: `memory, ${delivery}`,
    setup() {
      const [a, b] = memoryLinkPair({ delivery })
      return { a, b }
    },
    teardown: ({ a }) => a.close(),
  })
}

const streams = (framing: Framing, mtu: number) => () => {
  const [near, far] = memoryStreamPair()
  return { a: streamLink(near, { framing, mtu }), b: streamLink(far, { framing, mtu }) }
}

for (const framing of [u32be, u16le]) {
  for (const mtu of [1500, 65_520]) {
    frameLinkCompliance(runner, {
      name: `stream, ${framing.name}, MTU ${mtu}`,
      setup: streams(framing, mtu),
      async teardown({ a, b }) {
        await Promise.all([a.close(), b.close()])
      },
    })
  }
}

frameLinkCompliance(runner, {
  name: 'reconnecting and listening',
  async setup() {
    const network = memoryNetwork()
    const b = await listeningLink({ acceptor: network, at: { path: '/run/link.sock' } })
    const a = reconnectingLink({ open: () => network.connect({ path: '/run/link.sock' }) })
    while (a.state !== 'up' || b.state !== 'up') await new Promise((done) => setImmediate(done))
    return { a, b }
  },
  async teardown({ a, b }) {
    await Promise.all([a.close(), b.close()])
  },
})

for (const medium of ['a unix socket', 'TCP'] as const) {
  frameLinkCompliance(runner, {
    name: `${medium} of the host`,
    async setup() {
      const network = hostNetwork()
      const folder = mkdtempSync(join(tmpdir(), 'nk-'))
      const at = medium === 'TCP' ? { ip: '127.0.0.1', port: 0 } : { path: join(folder, 'link') }
      const b = await listeningLink({ acceptor: network, at })
      const a = reconnectingLink({ open: (signal) => network.connect(b.address, { signal }) })
      while (a.state !== 'up' || b.state !== 'up') await new Promise((done) => setImmediate(done))
      return { a, b, folder }
    },
    async teardown({ a, b, folder }: FrameLinkSubject & { folder: string }) {
      await Promise.all([a.close(), b.close()])
      rmSync(folder, { recursive: true })
    },
  })
}

frameLinkCompliance(runner, {
  name: 'VMN3T, listening and reconnecting',
  async setup() {
    const network = memoryNetwork()
    const at = { path: '/run/vpnkit.eth.sock' }
    const b = await listeningLink({
      acceptor: network,
      at,
      framing: u16le,
      handshake: async (stream) => (await serveVmn3t(stream)).stream,
    })
    const a = reconnectingLink({
      framing: u16le,
      open: async (signal) => (await dialVmn3t(await network.connect(at, { signal }))).stream,
    })
    while (a.state !== 'up' || b.state !== 'up') await new Promise((done) => setImmediate(done))
    return { a, b }
  },
  async teardown({ a, b }) {
    await Promise.all([a.close(), b.close()])
  },
})

frameLinkCompliance(runner, {
  name: 'UDP of the host',
  async setup() {
    const network = hostNetwork()
    const [one, two] = await Promise.all([
      network.bind({ ip: '127.0.0.1', port: 0 }),
      network.bind({ ip: '127.0.0.1', port: 0 }),
    ])
    return { a: datagramLink(one, { peer: two.local }), b: datagramLink(two, { peer: one.local }) }
  },
  async teardown({ a, b }) {
    await Promise.all([a.close(), b.close()])
  },
  skip: [noPause, noEnd, lossy],
})

frameLinkCompliance(runner, {
  name: 'MessagePort',
  setup() {
    const { port1, port2 } = new MessageChannel()
    return { a: messageLink(messagePort(port1)), b: messageLink(messagePort(port2)) }
  },
  async teardown({ a, b }) {
    await Promise.all([a.close(), b.close()])
  },
  skip: [noPause],
})

frameLinkCompliance(runner, {
  name: 'UDP',
  async setup() {
    const network = memoryNetwork()
    const [one, two] = await Promise.all([
      network.bind({ ip: '127.0.0.1', port: 0 }),
      network.bind({ ip: '127.0.0.1', port: 0 }),
    ])
    return { a: datagramLink(one, { peer: two.local }), b: datagramLink(two, { peer: one.local }) }
  },
  async teardown({ a, b }) {
    await Promise.all([a.close(), b.close()])
  },
  skip: [noPause, noEnd],
})

frameLinkCompliance(runner, {
  name: 'impaired without settings, and captured',
  setup() {
    const [a, b] = memoryLinkPair()
    return {
      a: impair(a, { random: seededRandom(1) }),
      b: captured(b, pcapRing(), { name: 'b' }),
    }
  },
  teardown: ({ a }) => a.close(),
})

if (process.platform === 'linux' || process.platform === 'darwin') {
  const folders = new WeakMap<object, string>()
  frameLinkCompliance(runner, {
    name: 'unix datagrams',
    async setup() {
      const folder = mkdtempSync(join(tmpdir(), 'nk-'))
      const [one, two] = [join(folder, 'one'), join(folder, 'two')]
      // The first end is there before its peer: with this clock, its next try to connect is always due.
      let now = 0
      const clock = { ...systemClock, now: () => (now += 1000) }
      const a = await openUnixDatagram({ path: one, peer: two, clock })
      const b = await openUnixDatagram({ path: two, peer: one })
      folders.set(a, folder)
      return { a, b }
    },
    async teardown({ a, b }) {
      await Promise.all([a.close(), b.close()])
      rmSync(folders.get(a) ?? '', { recursive: true })
    },
    skip: [noEnd],
  })
}
