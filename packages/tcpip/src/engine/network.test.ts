/** The engine's networks keep the contracts: guests seen through a gateway, and virtual hosts. */

import { memoryNetwork } from '@netkit/core'
import { binderCompliance, streamNetworkCompliance } from '@netkit/core/compliance'
import { memoryLinkPair } from '@netkit/frames'
import { describe, test } from 'vitest'
import { createGateway } from '../gateway/gateway.ts'
import { createStack } from '../stack/stack.ts'

const MAX_PAYLOAD = 65_507

function guestAndGateway() {
  const host = memoryNetwork()
  const gateway = createGateway({ network: host, hostAlias: true })
  const [inside, outside] = memoryLinkPair()
  gateway.attach(outside, { name: 'guest' })
  const guest = createStack(inside, {
    addresses: ['192.168.65.3/24'],
    routers: ['192.168.65.1'],
  })
  return { host, gateway, guest }
}

streamNetworkCompliance(
  { describe, test },
  {
    name: 'from the host into a guest',
    setup() {
      const { gateway, guest } = guestAndGateway()
      return {
        dialer: gateway.network,
        acceptor: guest.network,
        at: () => ({ ip: '192.168.65.3', port: 0 }),
        nobody: () => ({ ip: '192.168.65.3', port: 9 }),
        from: { ip: '203.0.113.9', port: 0 },
      }
    },
  },
)

streamNetworkCompliance(
  { describe, test },
  {
    name: 'from a guest to the host',
    setup() {
      const { host, guest } = guestAndGateway()
      return {
        dialer: guest.network,
        acceptor: host,
        at: () => ({ ip: '203.0.113.5', port: 0 }),
        nobody: () => ({ ip: '203.0.113.5', port: 9 }),
      }
    },
    skip: [
      {
        test: 'peers know each other by address',
        reason: 'the host sees its own socket, which is the point of the gateway',
      },
    ],
  },
)

streamNetworkCompliance(
  { describe, test },
  {
    name: 'from a guest to the gateway’s own address',
    setup() {
      const { gateway, guest } = guestAndGateway()
      return {
        dialer: guest.network,
        acceptor: gateway.network,
        at: () => ({ ip: '192.168.65.1', port: 0 }),
        nobody: () => ({ ip: '192.168.65.1', port: 9 }),
        from: { ip: '192.168.65.3', port: 0 },
      }
    },
  },
)

streamNetworkCompliance(
  { describe, test },
  {
    name: 'two stacks at MTU 65520',
    setup() {
      const [a, b] = memoryLinkPair({ mtu: 65_520 })
      const one = createStack(a, { addresses: ['198.18.0.1/24'] })
      const two = createStack(b, { addresses: ['198.18.0.2/24'] })
      return {
        dialer: one.network,
        acceptor: two.network,
        at: () => ({ ip: '198.18.0.2', port: 0 }),
        nobody: () => ({ ip: '198.18.0.2', port: 9 }),
        from: { ip: '198.18.0.1', port: 0 },
      }
    },
  },
)

binderCompliance(
  { describe, test },
  {
    name: 'a gateway’s own address',
    setup: () => ({
      binder: guestAndGateway().gateway.network,
      ip: '192.168.65.1',
      maxBytes: MAX_PAYLOAD,
      nobody: () => ({ ip: '192.168.65.1', port: 9 }),
    }),
  },
)

binderCompliance(
  { describe, test },
  {
    name: 'a stack',
    setup() {
      const [a] = memoryLinkPair()
      return {
        binder: createStack(a, { addresses: ['198.18.0.1/24'] }).network,
        ip: '198.18.0.1',
        maxBytes: MAX_PAYLOAD,
        nobody: () => ({ ip: '198.18.0.1', port: 9 }),
      }
    },
  },
)
