/** What finding the flow of a segment costs, beside a Map keyed by text. */

import { test } from 'vitest'
import { Address } from '../address.ts'
import { FlowTable } from './flow-table.ts'
import type { TcpFlow } from './tcp-flow.ts'

const MAPPED = 0xffff

test.for([10, 1000, 16_000])('%i flows', async (count, { bench }) => {
  const table = new FlowTable(0x1234_5678)
  const map = new Map<string, object>()
  const ours = new Address(0, 0, MAPPED, 0x0101_0101)
  const peer = new Address(0, 0, MAPPED, 0x0a00_0003)
  for (let i = 0; i < count; i++) {
    const flow = {
      ourAddress: ours,
      peerAddress: peer,
      ourPort: 443,
      peerPort: 1024 + i,
      hash: 0,
      next: undefined,
    }
    table.add(flow as unknown as TcpFlow)
    map.set(`${ours.text} 443 ${peer.text} ${1024 + i}`, flow)
  }
  let port = 0
  let found = 0
  const next = (): number => 1024 + (port = (port + 7919) % count)
  await bench.compare(
    bench('FlowTable.get', () => {
      if (table.get(0, 0, MAPPED, ours.d, 443, 0, 0, MAPPED, peer.d, next())) found++
    }),
    bench('Map with a text as key', () => {
      if (map.get(`${ours.d} 443 ${peer.d} ${next()}`)) found++
    }),
    { time: 200 },
  )
  if (found === 0) throw new Error('no flow was found')
})
