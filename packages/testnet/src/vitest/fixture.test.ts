import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'vitest'
import { reportFailure, seedFor } from '../node/failure-report.ts'
import { expect, test } from './index.ts'

describe('the net of a test', () => {
  test('answers fetch over a slow link, and its taps take matchers', async ({ net }) => {
    const [app, api] = [net.host('app'), net.host('api.test')]
    await api.listen((_request, response) => response.end('hello'), 80)
    using tap = net.tap({ port: 80 })
    net.link(app, api).set({ latency: 80 })
    const response = await app.fetch('http://api.test/')
    expect(await response.text()).toBe('hello')
    expect(tap).toHaveSeen({ from: 'app', flags: { syn: true } })
    expect(tap).not.toHaveSeen({ flags: { rst: true } })
    expect(tap).toHaveRetransmitted(0)
  })

  test('is seeded from the name of the test', ({ net }) => {
    expect(net.seed).toBe(seedFor('is seeded from the name of the test'))
    expect(seedFor('a')).not.toBe(seedFor('b'))
  })

  test('keeps the real network out', async ({ net }) => {
    net.host('app')
    const socket = connect(80, '192.0.2.1')
    const error = await new Promise((resolve) => {
      socket.once('error', resolve)
    })
    expect(error).toMatchObject({ code: 'ENETUNREACH' })
  })

  test('tells of connections that were left open, with the place that opened them', async ({
    net,
  }) => {
    const [app, db] = [net.host('app'), net.host('db.test')]
    await db.listen(createServer(), 5432)
    const socket = app.connect({ host: 'db.test', port: 5432 })
    await once(socket, 'connect')
    expect(net).not.toHaveNoLeaks()
    socket.destroy()
    await net.settle()
    expect(net).toHaveNoLeaks()
  })

  test('leaves a capture, a line to run it again and netstat when it fails', async ({ net }) => {
    const app = net.host('app')
    await app.listen(createServer(), 80)
    const folder = mkdtempSync(join(tmpdir(), 'netkit-test-'))
    try {
      const report = reportFailure(net, 'my test: fails', 'vitest run -t "my test: fails"', folder)
      expect(report).toMatch(/TESTNET_SEED=0x[\da-f]{8} vitest run -t "my test: fails"/)
      expect(report).toMatch(/app +tcp +0[.]0[.]0[.]0:80 +\* +LISTEN/)
      const file = /packets: (.*)/.exec(report)?.[1] ?? ''
      expect(readFileSync(file).equals(net.pcap())).toBe(true)
      expect(statSync(file).mode & 0o777).toBe(0o600)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
