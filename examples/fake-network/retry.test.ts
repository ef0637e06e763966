import { expect, test } from '@netkit/testnet/vitest'
import { getWithRetry } from './get-with-retry.ts'

test('retries reach a server behind a flaky link', async ({ net }) => {
  const [app, api] = [net.host('app'), net.host('api.test')]
  await api.listen((_request, response) => response.end('hello'), 80)
  net.link(app, api).set({ latency: 80, jitter: 20, loss: 0.3 })
  using tap = net.tap({ port: 80 })
  expect(await app.run(() => getWithRetry('http://api.test/'))).toBe('hello')
  expect(tap).toHaveSeen({ from: 'app', flags: { syn: true } })
})

test('an outage costs the attempts that fall into it, and no more', async ({ net }) => {
  const [app, api] = [net.host('app'), net.host('api.test')]
  await api.listen((_request, response) => response.end('hello'), 80)
  const outage = net.partition(app, api)
  const answer = app.run(() => getWithRetry('http://api.test/'))
  await net.advance('6.5s')
  outage[Symbol.dispose]()
  expect(await answer).toBe('hello')
  // 5 s of silence, 1 s of waiting; the second attempt's SYN is lost at 6 s and sent again at 7.
  expect(net.clock.now()).toBe(7000)
})

test('an outage that stays ends in the timeout of the last attempt', async ({ net }) => {
  const [app, api] = [net.host('app'), net.host('api.test')]
  await api.listen((_request, response) => response.end('hello'), 80)
  net.partition(app, api)
  await expect(app.run(() => getWithRetry('http://api.test/', 3))).rejects.toMatchObject({
    name: 'TimeoutError',
  })
  expect(net.clock.now()).toBe(3 * 5000 + 1000 + 2000)
})
