import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { createReporter } from '../reporter.ts'
import { run } from '../program.ts'
import { forwardCommand } from './forward.ts'

interface Ready {
  readonly event: string
  readonly ports: readonly { readonly listen: string }[]
}

function streams(): { stdout: PassThrough; stderr: PassThrough } {
  return { stdout: new PassThrough(), stderr: new PassThrough() }
}

test('forwards a port of the host, and is controlled over its socket', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'netkit-forward-'))
  const control = join(directory, 'ports.sock')
  const service = createServer((peer) => peer.end('hello')).listen(0, '127.0.0.1')
  await once(service, 'listening')
  const { port } = service.address() as AddressInfo
  const abort = new AbortController()
  const { stdout, stderr } = streams()
  const reporter = createReporter({ stdout, stderr }, { json: true })
  const forwards = [
    { request: { protocol: 'tcp', ip: '127.0.0.1', port: 0 }, to: { ip: '127.0.0.1', port } },
  ] as const
  const running = forwardCommand(forwards, { control }, reporter, abort.signal)
  try {
    const [line] = (await once(stdout, 'data')) as [Buffer]
    const ready = JSON.parse(line.toString()) as Ready
    expect(ready.event).toBe('ready')
    const published = Number(/:(\d+)\/tcp$/.exec(ready.ports[0]?.listen ?? '')?.[1])
    const client = connect(published, '127.0.0.1')
    const [answer] = (await once(client, 'data')) as [Buffer]
    expect(answer.toString()).toBe('hello')
    const asked = request({ socketPath: control, path: '/v1/ports' })
    asked.end()
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    let text = ''
    for await (const chunk of response as AsyncIterable<Buffer>) text += chunk.toString()
    expect(JSON.parse(text)).toMatchObject([
      { owner: 'netkit forward', address: { port: published } },
    ])
    client.destroy()
  } finally {
    abort.abort()
    expect(await running).toBe(0)
    service.close()
    rmSync(directory, { recursive: true })
  }
})

test.each([
  [['forward'], 'Nothing to forward'],
  [['forward', '8080'], 'has no target'],
  [['forward', '8080/sctp=192.0.2.5:80'], 'SCTP'],
  [['forward', '8080=192.0.2.5:80', '--proxy-protocol', '3'], 'are 1 and 2'],
])('netkit %j: exit status 2, and why', async (argv, words) => {
  const { stdout, stderr } = streams()
  expect(await run(argv, { stdout, stderr })).toBe(2)
  expect(String(stderr.read())).toContain(words)
})
