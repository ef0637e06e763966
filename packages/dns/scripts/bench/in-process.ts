/**
 * What one query costs without sockets: what a guest's query costs beyond its packets. Prints an `InProcess` as JSON.
 *
 * Best of many short runs: whatever else the machine does only ever adds. (`responder.bench.ts` compares the same queries under vitest,
 * whose module runner trebles the figures.)
 */

import { systemClock } from '@netkit/core'
import type { Clock } from '@netkit/core'
import { createDnsServer, layer, makeReply } from '@netkit/dns'
import type { DnsServer, MessageContext } from '@netkit/dns'
import { queryBytes } from '../../src/testing/dig.ts'
import type { InProcess } from './report.ts'

const RUNS = 2000
const QUERIES_PER_RUN = 500
const NAMES = 10_000
const MIB = 1024 * 1024

const records = (count: number): { type: number; ttl: number; rdata: Uint8Array }[] =>
  Array.from({ length: count }, (_, i) => ({
    type: 1,
    ttl: 3600,
    rdata: Uint8Array.of(192, 0, 2, i),
  }))

/** So much later than it is, `ms`: answers in the cache have aged then, and their TTLs must be written. */
let later = 0
const clock: Clock = { ...systemClock, now: () => systemClock.now() + later }
const server = (): DnsServer =>
  createDnsServer({
    clock,
    upstream: layer('upstream', async (query) =>
      makeReply(query, {
        from: 'upstream',
        records: records(query.name.toString().startsWith('nine') ? 9 : 1),
      }),
    ),
  })
const context: MessageContext = { client: {}, via: 'udp', limit: 1232 }
const out = new Uint8Array(1232)
const query = (name: string): Uint8Array => queryBytes(name, 'A', { edns: 1232 })

/** Time of one call, `µs`. */
function best(call: () => void): number {
  let least = Infinity
  for (let run = 0; run < RUNS; run++) {
    const start = performance.now()
    for (let i = 0; i < QUERIES_PER_RUN; i++) call()
    least = Math.min(least, performance.now() - start)
  }
  return (least / QUERIES_PER_RUN) * 1000
}

const { responder } = server()
/** An answer that is there at once. */
async function cached(bytes: Uint8Array): Promise<number> {
  await responder.answerInto(bytes, bytes.length, context, out)
  later += 2000
  return best(() => {
    if (typeof responder.answerInto(bytes, bytes.length, context, out) !== 'number')
      throw new Error('The answer is not in the cache.')
  })
}

/** CPU time of a name that is asked for the first time, `µs`. */
async function miss(): Promise<number> {
  const fresh = server()
  const queries = Array.from({ length: 2 * NAMES }, (_, i) => query(`n${i}.example.com`))
  const ask = async (some: readonly Uint8Array[]): Promise<void> => {
    for (const bytes of some) await fresh.responder.answerInto(bytes, bytes.length, context, out)
  }
  await ask(queries.slice(0, NAMES))
  const before = process.cpuUsage()
  await ask(queries.slice(NAMES))
  const { user, system } = process.cpuUsage(before)
  return (user + system) / NAMES
}

/** Memory in use, `bytes`, after a collection. */
function used(): number {
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** Memory of a cache with ten thousand names, `MiB`. */
async function memory(): Promise<number> {
  const before = used()
  const full = server()
  for (let i = 0; i < NAMES; i++) {
    const bytes = query(`host-${i}.example.com`)
    await full.responder.answerInto(bytes, bytes.length, context, out)
  }
  const after = used()
  // Kept alive until here.
  if (full.cache?.stats().entries !== NAMES) throw new Error('The cache does not hold all names.')
  return (after - before) / MIB
}

const lie = new Uint8Array(12).fill(0xff, 4)
const figures: InProcess = {
  one: await cached(query('www.example.com')),
  nine: await cached(query('nine.example.com')),
  hostile: best(() => void responder.answerInto(lie, lie.length, context, out)),
  miss: await miss(),
  memory: await memory(),
}
process.stdout.write(JSON.stringify(figures))
