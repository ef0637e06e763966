/**
 * The processes of the forwarders' benchmark, one role each: `server`, `pipe PORT`, `netkit PORT`, `publish`. A role prints its port, or its
 * result, as its first line.
 */

import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { hostNetwork } from '@netkit/core/node'
import { createPortBroker } from '@netkit/ports'
import { ephemeralPool } from '@netkit/ports/node'
import { HOST, PUBLICATIONS, RANGE_PORTS, residentBytes } from './measure.ts'

async function announce(listener: Server): Promise<void> {
  await once(listener.listen({ port: 0, host: HOST, backlog: 4096 }), 'listening')
  process.stdout.write(`${(listener.address() as AddressInfo).port}\n`)
}

/** Takes what comes after a `u`, answers anything else with itself and ends. */
async function server(): Promise<void> {
  const listener = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', (first: Buffer) => {
      if (first[0] === 0x75) socket.on('data', () => undefined)
      else socket.end(first)
    })
    socket.on('end', () => socket.end())
  })
  await announce(listener)
}

/** What Node itself can do: two sockets and `pipe`. */
async function pipe(target: number): Promise<void> {
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const guest = connect({ port: target, host: HOST, allowHalfOpen: true, noDelay: true })
    for (const socket of [client, guest]) socket.on('error', () => undefined)
    client.pipe(guest)
    guest.pipe(client)
  })
  await announce(listener)
}

async function netkit(target: number): Promise<void> {
  const network = hostNetwork()
  const broker = createPortBroker({ host: network })
  const lease = await broker.reserve([{ protocol: 'tcp', ip: HOST, port: 0 }], { owner: 'bench' })
  await lease.commit([{ network, to: { ip: HOST, port: target } }])
  process.stdout.write(`${lease.ports[0]?.port}\n`)
}

/** A divisor of `PUBLICATIONS`. */
const PUBLICATIONS_PER_COLLECTION = 1000

/** What `publish` measures. */
export interface PublishResult {
  readonly rangeMs: number
  readonly rangeBytes: number
  /** After as many publications again as before. */
  readonly grownBytes: number
  /** Of that, objects that live. */
  readonly grownLiveBytes: number
  readonly grownDescriptors: number
}

const live = (): number => process.memoryUsage().heapUsed
const descriptors = (): number => readdirSync('/proc/self/fd').length

async function publish(): Promise<void> {
  const host = hostNetwork()
  const broker = createPortBroker({ host, ephemeral: ephemeralPool() })
  const target = { network: host, to: { ip: HOST, port: 9 } }
  const request = { protocol: 'tcp', ip: HOST, port: 0 } as const
  const cycle = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const lease = await broker.reserve([request], { owner: 'cycle' })
      await lease.commit([target])
      await lease.abort()
    }
  }
  /** Publishes `PUBLICATIONS` times; V8 gives pages back a moment after a collection. */
  const many = async (): Promise<void> => {
    for (let i = 0; i < PUBLICATIONS; i += PUBLICATIONS_PER_COLLECTION) {
      await cycle(PUBLICATIONS_PER_COLLECTION)
      globalThis.gc?.()
      await delay(50)
    }
  }
  await cycle(1)
  globalThis.gc?.()
  const before = residentBytes(process.pid)
  const started = performance.now()
  const range = await broker.reserve([{ ...request, count: RANGE_PORTS }], { owner: 'range' })
  await range.commit([target])
  const rangeMs = performance.now() - started
  globalThis.gc?.()
  const rangeBytes = residentBytes(process.pid) - before
  await range.abort()
  // Compiled code, and the size that V8 gives its young generation, are part of the start.
  await many()
  const warm = { bytes: residentBytes(process.pid), live: live(), descriptors: descriptors() }
  await many()
  const result: PublishResult = {
    rangeMs,
    rangeBytes,
    grownBytes: residentBytes(process.pid) - warm.bytes,
    grownLiveBytes: live() - warm.live,
    grownDescriptors: descriptors() - warm.descriptors,
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
}

const [, , role, target] = process.argv
if (role === 'server') await server()
else if (role === 'pipe') await pipe(Number(target))
else if (role === 'netkit') await netkit(Number(target))
else await publish()
