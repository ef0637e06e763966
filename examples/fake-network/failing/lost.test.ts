import { expect, test } from '@netkit/testnet/vitest'

test('a server that is cut off answers', async ({ net }) => {
  const [app, api] = [net.host('app'), net.host('api.test')]
  await api.listen((_request, response) => response.end('hello'), 80)
  net.partition(app, api)
  const answer = app.run(() => fetch('http://api.test/', { signal: AbortSignal.timeout(10_000) }))
  expect((await answer).status).toBe(200)
})
