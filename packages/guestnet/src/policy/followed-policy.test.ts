import { guarded, ManualClock, memoryNetwork } from '@netkit/core'
import { fakeFiles } from '@netkit/core/node'
import { expect, test } from 'vitest'
import { followPolicyFile } from './followed-policy.ts'

const PATH = '/etc/netkit/policy.json'
const OPEN = '{ "rules": [] }'
const CLOSED = '{ "rules": [{ "action": "deny", "name": "closed", "to": ["203.0.113.1"] }] }'
const origin = { layer: 'tcpip', guest: 'vm' } as const
const to = { ip: '203.0.113.1', port: 80 }

async function setUp() {
  const files = fakeFiles({ [PATH]: OPEN })
  const clock = new ManualClock()
  const told: string[] = []
  const policy = await followPolicyFile(PATH, {
    files,
    clock,
    onChange: ({ rules }) => told.push(`${rules.length} rules`),
    onInvalid: ({ message }) => told.push(message),
  })
  const inner = memoryNetwork()
  await inner.listen(to, () => {})
  const network = guarded(inner, policy, { clock })
  return { files, clock, told, policy, network }
}

test('a change of the file decides live flows again', async () => {
  const { files, clock, told, network } = await setUp()
  const stream = await network.connect(to, { origin })
  files.write(PATH, CLOSED)
  await clock.advance(200)
  await expect(stream.closed).resolves.toMatchObject({ kind: 'reset', by: 'local' })
  await expect(network.connect(to, { origin })).rejects.toMatchObject({ rule: 'closed' })
  expect(told).toEqual(['1 rules'])
})

test('a change that cannot be read is told with its place, and what held goes on', async () => {
  const { files, clock, told, policy, network } = await setUp()
  files.write(PATH, CLOSED)
  await clock.advance(200)
  files.write(PATH, '{ "rules": [\n  {"action": "permit"}] }')
  await clock.advance(200)
  await expect(network.connect(to, { origin })).rejects.toMatchObject({ rule: 'closed' })
  // Gone without an event: looking every five seconds finds it.
  files.texts.delete(PATH)
  await clock.advance(5000)
  expect(policy.current.rules).toHaveLength(1)
  expect(told).toEqual([
    '1 rules',
    `${PATH}:2:14: "permit" is none of allow, deny.`,
    `${PATH}: there is no such file, or it cannot be read. Name a policy file that is there.`,
  ])
})

test('nothing starts with a policy that cannot be read', async () => {
  const files = fakeFiles({ [PATH]: '[]' })
  await expect(followPolicyFile(PATH, { files })).rejects.toThrow(`${PATH}:1:1: the policy is not`)
  await expect(followPolicyFile('/none', { files })).rejects.toThrow('/none: there is no such file')
})
