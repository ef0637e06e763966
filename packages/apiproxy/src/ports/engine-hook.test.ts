import { memoryNetwork, readAll, writeAll } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { createEngineHook } from './engine-hook.ts'
import type { EngineHook } from './engine-hook.ts'
import { ScriptedPublisher } from './scripted-engine.test-support.ts'

interface Rig extends AsyncDisposable {
  readonly hook: EngineHook
  readonly publisher: ScriptedPublisher
  ask(line: string, body?: string): Promise<string>
}

async function rig(): Promise<Rig> {
  const network = memoryNetwork()
  const publisher = new ScriptedPublisher()
  const hook = createEngineHook({
    publisher,
    target: ({ childIP, childPort }) => ({ network, to: { ip: childIP, port: childPort } }),
    childIp: () => '192.168.65.3',
  })
  await hook.listen(network, { path: '/api.sock' })
  return {
    hook,
    publisher,
    async ask(line, body = '') {
      const stream = await network.connect({ path: '/api.sock' })
      const head = `${line} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`
      await writeAll(stream, head + body)
      const answer = new TextDecoder().decode(await readAll(stream))
      stream.end()
      return `${answer.slice(9, 12)} ${answer.slice(answer.indexOf('\r\n\r\n') + 4).trim()}`
    },
    [Symbol.asyncDispose]: () => hook.close(),
  }
}

const web = {
  proto: 'tcp4',
  parentIP: '0.0.0.0',
  parentPort: 8080,
  childIP: '192.168.65.3',
  childPort: 8080,
}

describe('the port hook of an engine', () => {
  test('publishes on loopback what has no address, says so, and gives it back', async () => {
    await using it = await rig()
    expect(await it.ask('POST /v1/ports', JSON.stringify(web))).toBe(
      `201 {"id":1,"spec":${JSON.stringify(web)}}`,
    )
    expect(it.publisher.asked).toEqual([{ protocol: 'tcp', port: 8080 }])
    expect(it.publisher.book.get(8080)?.committed).toBe(true)
    expect(await it.ask('GET /v1/ports')).toBe(`200 [{"id":1,"spec":${JSON.stringify(web)}}]`)
    expect(await it.ask('DELETE /v1/ports/1')).toBe('200 {}')
    expect(it.publisher.book.size).toBe(0)
    expect(await it.ask('DELETE /v1/ports/1')).toMatch(/^404 /)
  })

  test('an address of the host’s stays, and UDP is UDP', async () => {
    await using it = await rig()
    const port = { ...web, proto: 'udp4', parentIP: '192.0.2.7' }
    await it.ask('POST /v1/ports', JSON.stringify(port))
    expect(it.publisher.asked).toEqual([{ protocol: 'udp', ip: '192.0.2.7', port: 8080 }])
  })

  test('a port that is taken: the engine reads who has it', async () => {
    await using it = await rig()
    it.publisher.foreign.add(8080)
    expect(await it.ask('POST /v1/ports', JSON.stringify(web))).toBe(
      '400 {"message":"port is already allocated: by postgres"}',
    )
  })

  test('an engine that was restarted asks again, and holds the port once', async () => {
    await using it = await rig()
    await it.ask('POST /v1/ports', JSON.stringify(web))
    expect(await it.ask('POST /v1/ports', JSON.stringify(web))).toMatch(/^201 \{"id":1,/)
    expect(it.hook.ports()).toEqual([web])
    await it.hook.release()
    expect(it.publisher.book.size).toBe(0)
  })

  test('a port that leads nowhere is given back', async () => {
    await using it = await rig()
    it.publisher.failsToCommit = true
    expect(await it.ask('POST /v1/ports', JSON.stringify(web))).toMatch(/^400 .*no way in/)
    expect(it.publisher.book.size).toBe(0)
  })

  test('tells the engine to bind where the target dials', async () => {
    await using it = await rig()
    expect(await it.ask('GET /v1/info')).toContain('"childIP":"192.168.65.3"')
  })

  test.each([
    'nonsense',
    '{}',
    JSON.stringify({ ...web, proto: 'sctp4' }),
    JSON.stringify({ ...web, proto: 'tcp6' }),
    JSON.stringify({ ...web, parentPort: 70_000 }),
    JSON.stringify({ ...web, parentPort: 0 }),
    JSON.stringify({ ...web, parentIP: '::1' }),
  ])('%s is refused', async (body) => {
    await using it = await rig()
    expect(await it.ask('POST /v1/ports', body)).toMatch(/^400 .*cannot read/)
    expect(it.publisher.asked).toEqual([])
  })
})
