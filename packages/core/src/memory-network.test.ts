import { describe, expect, test } from 'vitest'
import { binderCompliance, streamNetworkCompliance } from './compliance/index.ts'
import { MAX_DATAGRAM_BYTES } from './limits.ts'
import { memoryNetwork } from './memory-network.ts'

streamNetworkCompliance(
  { describe, test },
  {
    name: 'memory network, IPv4',
    setup() {
      const network = memoryNetwork()
      return {
        dialer: network,
        acceptor: network,
        at: () => ({ ip: '127.0.0.1', port: 0 }),
        nobody: () => ({ ip: '127.0.0.1', port: 9 }),
        from: { ip: '127.0.0.7', port: 0 },
      }
    },
  },
)

streamNetworkCompliance(
  { describe, test },
  {
    name: 'memory network, paths',
    setup() {
      const network = memoryNetwork()
      return {
        dialer: network,
        acceptor: network,
        at: () => ({ path: '/run/test.sock' }),
        nobody: () => ({ path: '/run/nobody.sock' }),
      }
    },
  },
)

binderCompliance(
  { describe, test },
  {
    name: 'memory network',
    setup: () => ({
      binder: memoryNetwork(),
      ip: '198.18.0.1',
      maxBytes: MAX_DATAGRAM_BYTES,
      nobody: () => ({ ip: '198.18.0.2', port: 9 }),
    }),
  },
)

const reset = (stream: { reset(): void }): void => stream.reset()

describe('memory network', () => {
  test('a wildcard listener takes its family, and IPv4 too when it is dual-stack', async () => {
    const network = memoryNetwork()
    await network.listen({ ip: '0.0.0.0', port: 80 }, reset)
    await network.listen({ ip: '::', port: 81 }, reset)
    await network.listen({ ip: '::', port: 82 }, reset, { dualStack: true })
    const dial = (ip: string, port: number): Promise<unknown> =>
      network.connect({ ip, port }).then(
        () => 'connected',
        (error: { code: string }) => error.code,
      )
    expect(await dial('198.18.0.9', 80)).toBe('connected')
    expect(await dial('2001:db8::1', 80)).toBe('ECONNREFUSED')
    expect(await dial('2001:db8::1', 81)).toBe('connected')
    expect(await dial('198.18.0.9', 81)).toBe('ECONNREFUSED')
    expect(await dial('198.18.0.9', 82)).toBe('connected')
  })

  test('a vsock port is dialled like any other', async () => {
    const network = memoryNetwork()
    await network.listen({ cid: 3, port: 1024 }, (stream) => stream.end())
    const stream = await network.connect({ cid: 3, port: 1024 })
    expect(stream.remote).toEqual({ cid: 3, port: 1024 })
    expect(stream.local).toMatchObject({ cid: 2 })
  })
})
