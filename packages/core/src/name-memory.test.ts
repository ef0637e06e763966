import { expect, test } from 'vitest'
import { ManualClock } from './manual-clock.ts'
import { NameMemory } from './name-memory.ts'

const answer = (name: string, address: string, ttlMs = 300_000) => ({
  chain: [name],
  addresses: [address],
  ttlMs,
})

test('an address leads back to the whole chain of names, most specific first', () => {
  const memory = new NameMemory({ clock: new ManualClock() })
  memory.remember('vm1', {
    chain: ['WWW.Example.', 'cdn.example', 'edge.example'],
    addresses: ['198.18.0.1', '2001:DB8::1'],
    ttlMs: 300_000,
  })
  const chain = ['www.example', 'cdn.example', 'edge.example']
  expect(memory.namesOf('vm1', '198.18.0.1')).toEqual(chain)
  expect(memory.namesOf('vm1', '2001:db8:0::1')).toEqual(chain)
  expect(memory.namesOf('vm1', '::ffff:198.18.0.1')).toEqual(chain)
  expect(memory.addressesOf('vm1', 'CDN.example')).toEqual(['198.18.0.1', '2001:db8::1'])
})

test('the latest answer comes first where names share an address', () => {
  const memory = new NameMemory({ clock: new ManualClock() })
  memory.remember('vm1', answer('one.example', '198.18.0.1'))
  memory.remember('vm1', answer('two.example', '198.18.0.1'))
  expect(memory.namesOf('vm1', '198.18.0.1')).toEqual(['two.example', 'one.example'])
})

test('a name holds for its TTL, at least a minute and at most a day', async () => {
  const clock = new ManualClock()
  const memory = new NameMemory({ clock })
  memory.remember('vm1', answer('short.example', '198.18.0.1', 1000))
  memory.remember('vm1', answer('normal.example', '198.18.0.1', 300_000))
  memory.remember('vm1', answer('long.example', '198.18.0.1', 1e12))
  await clock.advance(59_999)
  expect(memory.namesOf('vm1', '198.18.0.1')).toHaveLength(3)
  await clock.advance(1)
  expect(memory.namesOf('vm1', '198.18.0.1')).toEqual(['long.example', 'normal.example'])
  await clock.advance(240_000)
  expect(memory.addressesOf('vm1', 'normal.example')).toEqual([])
  await clock.advance(24 * 3600 * 1000)
  expect(memory.namesOf('vm1', '198.18.0.1')).toEqual([])
})

test('no guest authorises or evicts the names of another', () => {
  const memory = new NameMemory({
    clock: new ManualClock(),
    addressesPerGuest: 3,
    namesPerAddress: 2,
  })
  memory.remember('victim', answer('good.example', '198.18.0.1'))
  for (let i = 0; i < 50; i++) memory.remember('attacker', answer(`n${i}.example`, `198.18.1.${i}`))
  for (let i = 0; i < 50; i++) memory.remember('attacker', answer(`n${i}.example`, '198.18.0.1'))
  expect(memory.namesOf('victim', '198.18.0.1')).toEqual(['good.example'])
  expect(memory.namesOf('attacker', '198.18.0.1')).toEqual(['n49.example', 'n48.example'])
  expect(memory.stats()).toEqual({ guests: 2, addresses: 4, evicted: 48 + 48 })
  memory.forget('attacker')
  expect(memory.namesOf('attacker', '198.18.0.1')).toEqual([])
  expect(memory.stats().guests).toBe(1)
})

test('what is asked for again stays when older addresses leave', () => {
  const memory = new NameMemory({ clock: new ManualClock(), addressesPerGuest: 2 })
  memory.remember('vm1', answer('a.example', '198.18.0.1'))
  memory.remember('vm1', answer('b.example', '198.18.0.2'))
  memory.remember('vm1', answer('a.example', '198.18.0.1'))
  memory.remember('vm1', answer('c.example', '198.18.0.3'))
  expect(memory.namesOf('vm1', '198.18.0.1')).toEqual(['a.example'])
  expect(memory.namesOf('vm1', '198.18.0.2')).toEqual([])
})
