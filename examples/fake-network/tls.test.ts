import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import { text } from 'node:stream/consumers'
import { expect, test } from '@netkit/testnet/vitest'
import { certificate } from './certificate.ts'

test('a TLS 1.3 GET over 100 ms one way takes exactly three round trips', async ({ net }) => {
  const [app, api] = [net.host('app'), net.host('server.test')]
  await api.listen(
    https.createServer(certificate, (_request, response) => response.end('safe')),
    443,
  )
  net.link(app, api).set({ latency: 100 })
  const request = app.run(() =>
    https.get('https://server.test/', { ca: certificate.cert, agent: false }),
  )
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  expect(await text(response)).toBe('safe')
  // TCP's handshake, that of TLS, the request.
  expect(net.clock.now()).toBe(600)
})
