import { createServer } from 'node:tls'
import { memoryNetwork } from '@netkit/core'
import type { Network } from '@netkit/core'
import { asNetSocket, socketStream } from '@netkit/core/node'
import { expect, test } from 'vitest'
import { zones } from '../layers/zones.ts'
import { createResponder } from '../server.ts'
import { TcpStreams } from '../tcp-service.ts'
import { dug, queryBytes } from '../testing/dig.ts'
import { testCertificate, testKey } from '../testing/test-certificate.ts'
import { dotUpstream } from './dot.ts'

const server = { ip: '198.18.0.53', port: 853 }

async function dotServer(network: Network): Promise<{ connections(): number } & AsyncDisposable> {
  let handshakes = 0
  const streams = new TcpStreams(
    createResponder({ layers: [zones().set('a.test', { type: 'A', data: '192.0.2.1' })] }),
  )
  const tls = createServer(
    { key: testKey, cert: testCertificate, ALPNProtocols: ['dot'] },
    (socket) => {
      handshakes++
      streams.accept(socketStream(socket))
    },
  )
  tls.on('tlsClientError', () => {})
  const listening = await network.listen(
    server,
    (stream) => void tls.emit('connection', asNetSocket(stream)),
  )
  return {
    /** Handshakes that were completed. */
    connections: () => handshakes,
    async [Symbol.asyncDispose]() {
      await listening.close()
      await streams.close()
    },
  }
}

test('queries over TLS, where the certificate is the server’s', async () => {
  const network = memoryNetwork()
  await using listening = await dotServer(network)
  await using upstream = dotUpstream({
    network,
    server,
    servername: 'dns.test',
    ca: testCertificate,
  })
  const [one, two] = await Promise.all([
    upstream.exchange(queryBytes('a.test')),
    upstream.exchange(queryBytes('a.test', 'MX')),
  ])
  expect([dug(one).answers, dug(two).answers]).toEqual([['a.test A 5 192.0.2.1'], []])
  // Both queries went over one connection.
  expect(listening.connections()).toBe(1)
})

test('a certificate for another name is refused', async () => {
  const network = memoryNetwork()
  await using listening = await dotServer(network)
  await using upstream = dotUpstream({
    network,
    server,
    servername: 'other.test',
    ca: testCertificate,
  })
  await expect(upstream.exchange(queryBytes('a.test'))).rejects.toMatchObject({
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  })
  expect(listening.connections()).toBe(0)
})
