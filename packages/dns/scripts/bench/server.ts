/** The servers under test that run on Node: a bare echo, and netkit. */

import { createSocket } from 'node:dgram'
import { hostNetwork } from '@netkit/core/node'
import { createDnsServer, layer, makeReply } from '@netkit/dns'

const [, , kind, port = '0'] = process.argv

if (kind === 'echo') {
  // The ceiling of Node's datagrams: the query back with QR set.
  const socket = createSocket('udp4')
  socket.on('message', (bytes, from) => {
    bytes[2] = (bytes[2] ?? 0) | 0x80
    socket.send(bytes, from.port, from.address)
  })
  socket.bind(Number(port), '127.0.0.1', () => process.stdout.write('ready\n'))
} else {
  const dns = createDnsServer({
    upstream: layer('upstream', async (query) =>
      makeReply(query, {
        from: 'upstream',
        records: [{ type: 1, ttl: 3600, rdata: Uint8Array.of(192, 0, 2, 1) }],
      }),
    ),
  })
  await dns.listen(hostNetwork(), { ip: '127.0.0.1', port: Number(port) })
  process.stdout.write('ready\n')
}
