import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { parseDnsEndpoint, parseDnsName } from '../dns-options.ts'
import { run } from '../program.ts'

async function netkit(
  ...argv: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const stdout = new PassThrough({ encoding: 'utf8' })
  const stderr = new PassThrough({ encoding: 'utf8' })
  const code = await run(argv, { stdout, stderr })
  return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') }
}

describe('netkit explain dns', () => {
  test('tells the steps and the answer', async () => {
    const { code, stdout } = await netkit(
      'explain',
      'dns',
      'app.test',
      '--name',
      'app.test=192.0.2.1',
    )
    expect(code).toBe(0)
    expect(stdout).toBe(
      'app.test A\n  zones: answers NOERROR: app.test A 5 192.0.2.1\n→ NOERROR: app.test A 5 192.0.2.1  [zones]\n',
    )
  })

  test('as JSON', async () => {
    const { stdout } = await netkit(
      'explain',
      'dns',
      'localhost',
      'AAAA',
      '--json',
      '--server',
      '127.0.0.1:9',
    )
    expect(JSON.parse(stdout)).toMatchObject({ event: 'explanation', question: 'localhost AAAA' })
  })

  test.each([
    [['explain', 'dns', 'a..b'], /empty label/],
    [['explain', 'dns', 'a.test', 'NOPE'], /not a record type/],
    [['explain', 'dns', 'a.test', '--name', 'app.test'], /write name=address/],
    [['dns', '--listen', 'localhost:53'], /write ip:port/],
    [['dns', '--listen', '0.0.0.0:5353'], /--allow/],
  ])('%j is refused before anything starts', async (argv, message) => {
    const { code, stderr } = await netkit(...argv)
    expect(code).toBe(2)
    expect(stderr).toMatch(message)
  })
})

test('endpoints and names', () => {
  expect(parseDnsEndpoint('--listen', '127.0.0.1')).toEqual({ ip: '127.0.0.1', port: 53 })
  expect(parseDnsEndpoint('--listen', '[::1]:5353')).toEqual({ ip: '::1', port: 5353 })
  expect(parseDnsName('a.test=2001:DB8::1')).toEqual({ name: 'a.test', ip: '2001:db8::1' })
})
