import { execFile } from 'node:child_process'
import { channel } from 'node:diagnostics_channel'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { diagnosticsChannel } from './diagnostics-channel.ts'

test('on Node it is the channel of that name', () => {
  const heard: unknown[] = []
  const listen = (message: unknown): void => void heard.push(message)
  const own = diagnosticsChannel<number>('netkit:core:test')
  expect(own.hasSubscribers).toBe(false)
  channel('netkit:core:test').subscribe(listen)
  onTestFinished(() => {
    channel('netkit:core:test').unsubscribe(listen)
  })
  expect(own.hasSubscribers).toBe(true)
  own.publish(7)
  expect(heard).toEqual([7])
})

test('where there is no Node nobody listens', () => {
  vi.stubGlobal('process', undefined)
  onTestFinished(() => void vi.unstubAllGlobals())
  const none = diagnosticsChannel('netkit:core:test')
  none.publish(7)
  expect(none.hasSubscribers).toBe(false)
})

describe('NODE_DEBUG', () => {
  const file = fileURLToPath(new URL('diagnostics-channel.ts', import.meta.url))
  const program = `import { diagnosticsChannel } from ${JSON.stringify(file)}
diagnosticsChannel('netkit:core:test').publish({ rule: 'no mail' })`
  const run = async (debug: string): Promise<string> => {
    const env = { ...process.env, NODE_DEBUG: debug, NODE_NO_WARNINGS: '1' }
    const args = ['--input-type=module', '--eval', program]
    return (await promisify(execFile)(process.execPath, args, { env })).stderr
  }

  test('=netkit prints what is published', async () => {
    expect(await run('net,netkit')).toMatch(
      /^NETKIT \d+: netkit:core:test \{ rule: 'no mail' \}\n$/,
    )
  })

  test('of others prints nothing', async () => {
    expect(await run('tls')).toBe('')
  })
})
