import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { resolverCompliance } from '../compliance/index.ts'
import { socketError } from '../errors.ts'
import type { HostEvent } from '../host-events.ts'
import { ManualClock } from '../manual-clock.ts'
import { fakeCommands, hostCommands } from './host-command.ts'
import { hostEvents } from './host-events.ts'
import { runProcess, startProcess } from './host-process.ts'
import { hostResolver } from './host-resolver.ts'

resolverCompliance(
  { describe, test },
  {
    name: 'host resolver over a recorded getaddrinfo',
    setup: () => ({
      resolver: hostResolver({
        async lookUp(name, family) {
          if (name !== 'www.example') throw socketError('ENOTFOUND', { syscall: 'getaddrinfo' })
          const all = ['2001:DB8::0:1', 'fe80::1%eth0', '198.18.0.1']
          return all.filter((ip) => family === 0 || (family === 6) === ip.includes(':'))
        },
      }),
      name: 'www.example',
      addresses: { 4: ['198.18.0.1'], 6: ['2001:db8::1', 'fe80::1'] },
      missing: 'nobody.example',
    }),
  },
)

describe('hostResolver', () => {
  test("knows localhost as the host's own programs do", async () => {
    const addresses = await hostResolver().resolve('localhost')
    expect(addresses.some((ip) => ip === '127.0.0.1' || ip === '::1')).toBe(true)
  })

  test('a name service that does not answer is EAI_AGAIN with the cause', async () => {
    const cause = Object.assign(new Error('no server'), { code: 'EAI_FAIL' })
    const resolver = hostResolver({ lookUp: () => Promise.reject(cause) })
    await expect(resolver.resolve('www.example')).rejects.toMatchObject({
      code: 'EAI_AGAIN',
      cause,
    })
  })
})

describe('hostEvents', () => {
  const lan = { eth0: [{ address: '192.0.2.10' }, { address: 'fe80::1%eth0' }] }

  test('an address that comes or goes is a network event, and the set follows', async () => {
    const clock = new ManualClock()
    let interfaces: Record<string, { address: string }[]> = lan
    using host = hostEvents({ clock, interfaces: () => interfaces, pollMs: 1000 })
    const seen: HostEvent[] = []
    host.on((event) => seen.push(event))
    expect([...host.addresses]).toEqual(['192.0.2.10', 'fe80::1'])
    await clock.advance(5000)
    expect(seen).toEqual([])
    interfaces = { ...lan, tun0: [{ address: '10.8.0.2' }] }
    await clock.advance(1000)
    expect(seen).toEqual([{ kind: 'network' }])
    expect(host.addresses.has('10.8.0.2')).toBe(true)
  })

  test('sleep is a wake event with its length; a slewed clock is not', async () => {
    const clock = new ManualClock()
    using host = hostEvents({ clock, interfaces: () => lan, pollMs: 1000 })
    const seen: HostEvent[] = []
    const stop = host.on((event) => seen.push(event))
    clock.sleep(500)
    await clock.advance(1000)
    expect(seen).toEqual([])
    clock.sleep(3_600_000)
    await clock.advance(1000)
    expect(seen).toEqual([{ kind: 'wake', sleptMs: 3_600_000 }])
    stop()
    expect(clock.pending).toBe(0)
  })
})

describe('hostCommands', () => {
  const node = process.execPath

  test('a status other than 0 is a result, with both outputs', async () => {
    const script =
      'process.stdin.on("data", (d) => console.log("got " + d)).on("end", () => { console.error("sorry"); process.exit(3) })'
    await expect(hostCommands.run(node, ['-e', script], { input: 'words' })).resolves.toEqual({
      code: 3,
      stdout: 'got words\n',
      stderr: 'sorry\n',
    })
  })

  test('programs speak English, whatever the user’s language', async () => {
    vi.stubEnv('LC_ALL', 'de_DE.UTF-8')
    onTestFinished(() => void vi.unstubAllEnvs())
    const script = 'process.stdout.write(process.env.LC_ALL)'
    expect(await hostCommands.run(node, ['-e', script])).toMatchObject({ stdout: 'C' })
    expect(await runProcess(startProcess, node, ['-e', script])).toBe('C')
  })

  test('a program that does not exist is ENOENT, an abort rejects with its reason', async () => {
    await expect(hostCommands.run('/no/such/program', [])).rejects.toMatchObject({ code: 'ENOENT' })
    const controller = new AbortController()
    const running = hostCommands.run(node, ['-e', 'setInterval(() => {}, 1000)'], controller)
    const reason = new Error('enough')
    controller.abort(reason)
    await expect(running).rejects.toBe(reason)
  })

  test('a fake answers from recordings and remembers the questions', async () => {
    const commands = fakeCommands({ 'scutil --proxy': 'a\nb\n', false: { code: 1 } })
    expect((await commands.run('scutil', ['--proxy'])).stdout).toBe('a\nb\n')
    await expect(commands.run('false', [])).resolves.toEqual({ code: 1, stdout: '', stderr: '' })
    await expect(commands.run('netsh', ['x'])).rejects.toMatchObject({ code: 'ENOENT' })
    expect(commands.calls).toEqual(['scutil --proxy', 'false', 'netsh x'])
  })
})
