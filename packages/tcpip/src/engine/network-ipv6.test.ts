/** The same contracts over IPv6. */

import { memoryNetwork } from '@netkit/core'
import { binderCompliance, streamNetworkCompliance } from '@netkit/core/compliance'
import { memoryLinkPair } from '@netkit/frames'
import { describe, test } from 'vitest'
import { createGateway } from '../gateway/gateway.ts'
import { createStack } from '../stack/stack.ts'

const GUEST = 'fd6e:6b65:7a00:65::3'
const GATEWAY = 'fd6e:6b65:7a00:65::1'

function guestAndGateway() {
  const host = memoryNetwork()
  const gateway = createGateway({ network: host, ipv6: {} })
  const [inside, outside] = memoryLinkPair()
  gateway.attach(outside, { name: 'guest' })
  const guest = createStack(inside, { addresses: [`${GUEST}/64`], routers: [GATEWAY] })
  return { host, gateway, guest }
}

streamNetworkCompliance(
  { describe, test },
  {
    name: 'from the host into a guest, IPv6',
    setup() {
      const { gateway, guest } = guestAndGateway()
      return {
        dialer: gateway.network,
        acceptor: guest.network,
        at: () => ({ ip: GUEST, port: 0 }),
        nobody: () => ({ ip: GUEST, port: 9 }),
        from: { ip: '2001:db8::9', port: 0 },
      }
    },
  },
)

streamNetworkCompliance(
  { describe, test },
  {
    name: 'from a guest to the host, IPv6',
    setup() {
      const { host, guest } = guestAndGateway()
      return {
        dialer: guest.network,
        acceptor: host,
        at: () => ({ ip: '2001:db8::5', port: 0 }),
        nobody: () => ({ ip: '2001:db8::5', port: 9 }),
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

binderCompliance(
  { describe, test },
  {
    name: 'a gateway’s own address, IPv6',
    setup: () => ({
      binder: guestAndGateway().gateway.network,
      ip: GATEWAY,
      maxBytes: 65_487,
      nobody: () => ({ ip: GATEWAY, port: 9 }),
    }),
  },
)
