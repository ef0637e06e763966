/** Drivers from npm, as they are, against small servers: what they do when the network goes silent. */

import type { NodeHost, NodeTestnet } from '@netkit/testnet/node'
import { expect, test } from '@netkit/testnet/vitest'
import { Redis } from 'ioredis'
import pg from 'pg'
import { fakePostgres } from './fake-postgres.ts'
import { fakeRedis } from './fake-redis.ts'

/** Linux gives up on a connection after 15 retransmissions, from 200 ms to two minutes apart. */
const STANDARD_TIMEOUT_MS = 924_600

async function postgres(net: NodeTestnet): Promise<{ app: NodeHost; db: NodeHost; pool: pg.Pool }> {
  const [app, db] = [net.host('app'), net.host('db.test')]
  await db.listen(fakePostgres(), 5432)
  const pool = app.run(() => new pg.Pool({ host: 'db.test', user: 'me', max: 1 }))
  pool.on('error', () => {})
  return { app, db, pool }
}

test('pg: a query into a black hole ends in ETIMEDOUT when TCP has given up', async ({ net }) => {
  const { app, db, pool } = await postgres(net)
  expect((await app.run(() => pool.query('select 42'))).rows).toEqual([{ answer: '42' }])
  net.partition(app, db)
  const start = net.clock.now()
  const lost = app.run(() => pool.query('select 42'))
  await expect(lost).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  expect(net.clock.now() - start).toBe(STANDARD_TIMEOUT_MS)
  await pool.end()
})

test('pg: healed after a minute, the same query succeeds', async ({ net }) => {
  const { app, db, pool } = await postgres(net)
  await app.run(() => pool.query('select 42'))
  const cut = net.partition(app, db)
  using tap = net.tap({ from: 'app', payload: true })
  const late = app.run(() => pool.query('select 42'))
  await net.advance('60s')
  cut[Symbol.dispose]()
  expect((await late).rows).toEqual([{ answer: '42' }])
  expect(tap).toHaveRetransmitted()
  await pool.end()
})

test('ioredis: a command into a black hole waits until TCP has given up, and is sent again when the link heals', async ({
  net,
}) => {
  const [app, cache] = [net.host('app'), net.host('cache.test')]
  await cache.listen(fakeRedis(), 6379)
  const options = { host: 'cache.test', disableClientInfo: true, enableReadyCheck: false }
  const client = app.run(() => new Redis(options))
  const errors: string[] = []
  client.on('error', ({ code }: NodeJS.ErrnoException) => errors.push(String(code)))
  expect(await client.ping()).toBe('PONG')
  const cut = net.partition(app, cache)
  const late = client.ping()
  await net.advance('15m')
  expect(errors).toEqual([])
  await net.advance('1m')
  expect(errors[0]).toBe('ETIMEDOUT')
  cut[Symbol.dispose]()
  expect(await late).toBe('PONG')
  client.disconnect()
})
