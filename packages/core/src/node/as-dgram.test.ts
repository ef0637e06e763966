import { Socket } from 'node:dgram'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { memoryNetwork } from '../memory-network.ts'
import { asDgram } from './as-dgram.ts'

test('a port is a dgram.Socket: send in all its forms, answers, errors, close', async () => {
  const network = memoryNetwork()
  const server = asDgram(await network.bind({ ip: '198.18.0.2', port: 53 }))
  expect(server).toBeInstanceOf(Socket)
  expect(server.address()).toEqual({ address: '198.18.0.2', port: 53, family: 'IPv4' })
  server.on('message', (bytes, from) =>
    server.send(`re: ${bytes.toString()}`, from.port, from.address),
  )

  const client = asDgram(await network.bind({ ip: '198.18.0.1', port: 0 }))
  const answers: string[] = []
  const three = new Promise<void>((resolve) => {
    client.on('message', (bytes, from) => {
      answers.push(`${bytes.toString()} from ${from.address}:${from.port}, ${from.size}`)
      if (answers.length === 3) resolve()
    })
  })
  const sent = new Promise((resolve) => {
    client.send('one', 53, '198.18.0.2', (error, bytes) => resolve([error, bytes]))
  })
  client.send(Buffer.from('-two-'), 1, 3, 53, '198.18.0.2')
  client.send(['th', Buffer.from('ree')], 53, '198.18.0.2')
  await three
  expect(await sent).toEqual([null, 3])
  expect(answers).toEqual([
    're: one from 198.18.0.2:53, 7',
    're: two from 198.18.0.2:53, 7',
    're: three from 198.18.0.2:53, 9',
  ])

  const lonely = asDgram(
    await network.bind({ ip: '198.18.0.1', port: 0 }, { connected: { ip: '198.18.0.9', port: 9 } }),
  )
  expect(lonely.remoteAddress()).toMatchObject({ address: '198.18.0.9', port: 9 })
  const failed = once(lonely, 'error')
  lonely.send('anyone?')
  await expect(failed).resolves.toMatchObject([{ code: 'ECONNREFUSED' }])

  const closed = once(server, 'close')
  server.close()
  await closed
  expect(() => server.send('late', 1, '198.18.0.1')).toThrow('Not running')
  await client[Symbol.asyncDispose]()
})
