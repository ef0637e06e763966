import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { run } from '../program.ts'

async function explained(...argv: readonly string[]): Promise<{ code: number; text: string }> {
  const output = new PassThrough()
  const code = await run(['explain', 'egress', ...argv], { stdout: output, stderr: output })
  output.end()
  return { code, text: await text(output) }
}

test('an address is told with its kind, the rule and the reason', async () => {
  expect(await explained('203.0.113.7:443')).toEqual({
    code: 0,
    text: "203.0.113.7:443 by tcp\n  203.0.113.7 (public): allowed by 'allow-all': everything is allowed\n",
  })
  expect((await explained('169.254.169.254:80')).text).toContain('(metadata): denied by')
  expect((await explained('127.0.0.1:80', '--host-alias')).text).toContain('(loopback): denied by')
})

test('a policy file decides, and one that cannot be read is a usage error', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'netkit-egress-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'policy.jsonc')
  await writeFile(
    file,
    '{ "default": "deny", "rules": [{ "name": "web", "action": "allow", "to": ["203.0.113.0/24"], "ports": [443] }] }',
  )
  expect((await explained('203.0.113.7:443', '--policy', file)).text).toContain("allowed by 'web'")
  const udp = await explained('203.0.113.7:53', '--udp', '--json', '--policy', file)
  expect(JSON.parse(udp.text)).toMatchObject({
    event: 'explanation',
    flows: [{ flow: { protocol: 'udp' }, verdict: { allow: false, rule: 'fallback' } }],
  })
  expect((await explained('203.0.113.7:1', '--policy', `${file}.no`)).code).toBe(2)
})

test('what is no host and port is a usage error', async () => {
  expect((await explained('nonsense')).code).toBe(2)
})
