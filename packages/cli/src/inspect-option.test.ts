import { PassThrough } from 'node:stream'
import { memoryNetwork } from '@netkit/core'
import { memoryLinkPair } from '@netkit/frames'
import { createGuestNetwork } from '@netkit/guestnet'
import { describe, expect, test } from 'vitest'
import { inspected } from './inspect-option.ts'
import { run } from './program.ts'
import { createReporter } from './reporter.ts'

describe('--inspect', () => {
  test('tells the address of a page that shows the network, with the capture of the watched link', async () => {
    const stdout = new PassThrough({ encoding: 'utf8' })
    const reporter = createReporter({ stdout, stderr: new PassThrough() }, { json: true })
    await using network = await createGuestNetwork({ host: memoryNetwork(), hostPrefixes: [] })
    await using page = inspected({ inspect: true })
    const [, link] = memoryLinkPair()
    network.attach(page.watched(link, 'vm'), { name: 'vm' })
    await page.serve(network, reporter)
    const { event, url } = JSON.parse(String(stdout.read())) as { event: string; url: string }
    expect(event).toBe('inspect')
    const snapshot = (await (await fetch(`${url}snapshot`)).json()) as {
      gateway: { guests: { name: string }[] }
    }
    expect(snapshot.gateway.guests.map(({ name }) => name)).toEqual(['vm'])
    const capture = Buffer.from(await (await fetch(`${url}capture.pcapng`)).arrayBuffer())
    expect(capture.includes('vm')).toBe(true)
  })

  test('without it, a link is left as it is and nothing is served', async () => {
    const stdout = new PassThrough({ encoding: 'utf8' })
    const reporter = createReporter({ stdout, stderr: new PassThrough() }, { json: true })
    await using network = await createGuestNetwork({ host: memoryNetwork(), hostPrefixes: [] })
    await using page = inspected({})
    const [, link] = memoryLinkPair()
    expect(page.watched(link, 'vm')).toBe(link)
    await page.serve(network, reporter)
    expect(stdout.read()).toBe(null)
  })

  test.each(['0', '99999', 'x'])('a port of %s is a usage error', async (port) => {
    const stderr = new PassThrough({ encoding: 'utf8' })
    const code = await run(['gateway', '--qemu', '/nowhere/x.sock', '--inspect', port], {
      stdout: new PassThrough(),
      stderr,
    })
    expect(code).toBe(2)
    expect(String(stderr.read())).toContain('A port is 1 to 65535.')
  })
})
