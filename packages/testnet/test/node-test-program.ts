/** Two tests of `node:test`, one of which fails and one of which leaks. */

import { once } from 'node:events'
import { createServer } from 'node:net'
import { test } from '@netkit/testnet/node-test'

void test('fails', async ({ net, t }) => {
  const app = net.host('app')
  await app.listen(createServer(), 80)
  t.assert.equal(1, 2)
})

void test('leaks', async ({ net }) => {
  const [app, db] = [net.host('app'), net.host('db')]
  await db.listen(createServer(), 5432)
  await once(app.connect({ host: 'db', port: 5432 }), 'connect')
})

void test('passes', async ({ net, t }) => {
  await net.host('api').listen((_request, response) => response.end('hello'), 80)
  const response = await net.host('app').fetch('http://api/')
  t.assert.equal(await response.text(), 'hello')
})
