/** Runs as another user: reserves what it is told through the helper, serves it, and says what happened as one JSON object per line. */

import { memoryNetwork, writeAll } from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import { createPortBroker } from '../src/index.ts'
import { createPortHelper, hostHolders, privilegedNetwork } from '../src/node/index.ts'

const [binary = '', socket = '', ip = '', port = '', relayDirectory = ''] = process.argv.slice(2)
// Instead of a socket: sudo.
const start = socket === 'sudo' ? (['sudo'] as const) : (['socket'] as const)
const say = (what: unknown): void => void process.stdout.write(`${JSON.stringify(what)}\n`)

const helper = createPortHelper({ binary, socket, start })
const host = privilegedNetwork(hostNetwork(), {
  helper,
  ...(relayDirectory !== '' && { relayDirectory }),
})
const broker = createPortBroker({
  host,
  holders: hostHolders({ helper: () => ({ ready: false, hint: helper.status().hint }) }),
})
const guest = memoryNetwork()
const web = { ip: '192.168.65.3', port: 80 }
await guest.listen(web, (stream) => {
  void writeAll(stream, new TextEncoder().encode(JSON.stringify(stream.remote))).finally(() =>
    stream.end(),
  )
})

say({ uid: process.getuid?.(), status: helper.status().state })
try {
  const request = { protocol: 'tcp', ip, port: Number(port) } as const
  const udp = { protocol: 'udp', ip, port: Number(port) } as const
  const lease = await broker.reserve(relayDirectory === '' ? [request, udp] : [request], {
    owner: 'web',
  })
  const target = { network: guest, to: web, preserveSource: { except: [] } }
  await lease.commit(relayDirectory === '' ? [target, target] : [target])
  say({ ports: lease.ports })
} catch (error) {
  const { code, message, hint } = error as { code?: string; message: string; hint?: string }
  say({ code, message, hint })
}
process.stdin.on('data', () => undefined)
process.stdin.on('end', () => {
  void broker
    .close()
    .then(() => helper.close())
    .finally(() => process.exit(0))
})
