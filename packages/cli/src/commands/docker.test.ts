import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { createServer, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { run } from '../program.ts'
import { createReporter } from '../reporter.ts'
import { dockerCommand } from './docker.ts'

test('serves the engine on a private socket, and prints the context', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'netkit-docker-'))
  const engine = createServer((_, response) => response.end('OK'))
  engine.listen(join(folder, 'engine'))
  await once(engine, 'listening')
  const abort = new AbortController()
  const stdout = new PassThrough()
  const listen = join(folder, 'docker.sock')
  const reporter = createReporter({ stdout, stderr: new PassThrough() }, { json: false })
  const options = { listen, engine: `unix://${folder}/engine`, publish: false }
  const running = dockerCommand(options, reporter, abort.signal)
  try {
    const [text] = (await once(stdout, 'data')) as [Buffer]
    expect(text.toString()).toContain(
      `docker context create netkit --docker host=unix://${listen}\n`,
    )
    expect(statSync(listen).mode & 0o777).toBe(0o600)
    const asked = request({ socketPath: listen, path: '/_ping' })
    asked.end()
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    let body = ''
    for await (const chunk of response as AsyncIterable<Buffer>) body += chunk.toString()
    expect(body).toBe('OK')
  } finally {
    abort.abort()
    expect(await running).toBe(0)
    engine.close()
    rmSync(folder, { recursive: true })
  }
})

test.each([
  [['--listen', '/tmp/x', '--engine', 'tcp://engine:2375'], 'an address, not a name'],
  [['--listen', 'tcp://127.0.0.1:2375', '--engine', '/tmp/e'], 'without TLS'],
  [['--listen', '/tmp/x', '--engine', '/tmp/e'], '--guest-ip'],
])('netkit docker %j: exit status 2, and why', async (argv, words) => {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  expect(await run(['docker', ...argv], { stdout, stderr })).toBe(2)
  expect(String(stderr.read())).toContain(words)
})
