/**
 * netkit's `splice` between two sockets of the host, to be set beside `socat -b 65536`.
 *
 *   node splice-forwarder.ts LISTEN-PORT TARGET-PORT
 */

import { splice } from '../../packages/core/src/index.ts'
import { hostNetwork } from '../../packages/core/src/node/index.ts'

const [at = 0, to = 0] = process.argv.slice(2).map(Number)
const host = hostNetwork()
await host.listen({ ip: '127.0.0.1', port: at }, (stream) => {
  host.connect({ ip: '127.0.0.1', port: to }).then(
    (target) => splice(stream, target),
    () => stream.reset(),
  )
})
