/**
 * The composed system under load and under faults, in namespaces that `main.ts` made for it.
 *
 * ```
 *   office (namespace) ══ tun0 ═╗                           ┌── cable ── guest (namespace): httpd, curl, nslookup
 *   web, proxies (process) ─────╨─ this process: netkit ────┤
 *   curl, UDP, docker (processes) ─▶ published ports, API ──┘── cable ── engine (namespaces): dockerd
 * ```
 *
 * Arguments: seconds, whether there is an engine. Prints the report; exits with 1 when something was not as it must be.
 */

import { watch } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createGuestNetwork } from '@netkit/guestnet'
import { moreThan, openDescriptors } from './descriptors.ts'
import { startSoakEngine } from './engine.ts'
import { FaultSchedule, type Fault } from './faults.ts'
import { GuestOnCable } from './guest-on-cable.ts'
import { runLoad } from './load.ts'
import { GUEST_SERVICES, soakLoads } from './loads.ts'
import { sampleMemory, type MemorySample } from './memory.ts'
import { UPSTREAM_PORTS } from './places.ts'
import { soakReport } from './report.ts'
import { startPlace, Tunnel } from './tunnel.ts'

/** Pools, caches and compiled code are part of the start, `ms`. */
const WARM_UP_MS = 20_000
const SAMPLE_MS = 4000
/** How long a cable stays cut, and a tunnel down, `ms`. */
const OUTAGE_MS = 1500
/** The host's interfaces are looked at every 5 s. */
const TUNNEL_OUTAGE_MS = 6000
/** After the last fault everything must go on, `ms`. */
const CALM_AT_THE_END_MS = 15_000
/** Flows that nobody ends, and connections that wait for another request, go within this, `ms`. */
const SETTLE_MS = 90_000

const [, , seconds = '120', withEngine = 'no'] = process.argv
const durationMs = Number(seconds) * 1000
const say = (text: string): void => void process.stderr.write(`${text}\n`)

const folder = await mkdtemp(join(tmpdir(), 'netkit-soak-'))
const outside = await startPlace('with-proxies')
const tunnel = new Tunnel()
await tunnel.up()
// libuv keeps its one inotify descriptor from the first watch on.
watch(folder).close()
const atTheStart = openDescriptors()

// The system.
let upstream: number | undefined
const network = await createGuestNetwork({
  hostAlias: true,
  proxy: {
    sources: [
      {
        name: 'manual',
        decide: () => ({
          hops:
            upstream === undefined
              ? [{ via: 'direct' }]
              : [{ via: 'http', host: '127.0.0.1', port: upstream }],
          reason: 'as the soak has set it',
        }),
      },
    ],
  },
})
const vm = await GuestOnCable.lay(join(folder, 'cable.sock'))
network.attach(vm.link, { name: 'vm' })
await vm.boot(GUEST_SERVICES)
const publish = async (protocol: 'tcp' | 'udp', guestPort: number): Promise<number> => {
  const request = { protocol, ip: '127.0.0.1', port: 0 }
  const lease = await network.publish({ request, guestPort }, { guest: 'vm' })
  return lease.ports[0]?.port ?? 0
}
const ports = { http: await publish('tcp', 80), udp: await publish('udp', 53) }
const engine = withEngine === 'yes' ? await startSoakEngine(network, folder) : undefined

const faults: Fault[] = [
  {
    kind: 'link cut',
    async run() {
      vm.cut()
      await delay(OUTAGE_MS)
      await vm.mend()
    },
  },
  {
    kind: 'upstream switch',
    run() {
      const ways: readonly (number | undefined)[] = [undefined, ...UPSTREAM_PORTS]
      upstream = ways[(ways.indexOf(upstream) + 1) % ways.length]
      return Promise.resolve()
    },
  },
  {
    kind: 'tunnel down',
    async run() {
      await tunnel.down()
      await delay(TUNNEL_OUTAGE_MS)
      await tunnel.up()
    },
  },
  {
    kind: 'guest reboot',
    async run() {
      await vm.halt()
      await vm.boot(GUEST_SERVICES)
    },
  },
  ...(engine === undefined
    ? []
    : [{ kind: 'engine crash' as const, run: (): Promise<void> => engine.crash() }]),
]

// Each load once, alone: what works only under luck shall not begin.
const loads = soakLoads({ network, vm, engine, ports })
for (const load of loads) {
  const got = await load.once()
  if (got !== load.expected) throw new Error(`${load.name}: ${got} is not ${load.expected}`)
}

const samples: MemorySample[] = []
const abort = new AbortController()
const sampling = (async (): Promise<void> => {
  await delay(Math.min(WARM_UP_MS, durationMs / 3))
  while (!abort.signal.aborted) {
    samples.push(sampleMemory())
    await delay(SAMPLE_MS, undefined, { signal: abort.signal }).catch(() => undefined)
  }
})()
say(`${loads.length} loads, ${faults.length} faults, ${seconds} s`)
const before = openDescriptors()
const schedule = new FaultSchedule(faults)
const calm = new AbortController()
const scheduled = schedule.run(calm.signal)
const running = loads.map((load) => runLoad(load, schedule, abort.signal))
const started = performance.now()
await delay(durationMs)
calm.abort()
await scheduled
await delay(CALM_AT_THE_END_MS)
abort.abort()
const results = await Promise.all(running)
await sampling
const ranMs = performance.now() - started

/** Where flows through the host's sockets lead now. */
const openFlows = (): readonly string[] =>
  network.snapshot().egress.flows.map(({ flow }) => JSON.stringify(flow.to))

/** Waits until nothing is open that was not: a flow is forgotten a turn after its descriptor is closed. */
async function settled(
  reference: ReadonlyMap<string, number>,
): Promise<{ readonly descriptors: string; readonly flows: readonly string[] }> {
  const deadline = performance.now() + SETTLE_MS
  for (;;) {
    const [descriptors, flows] = [moreThan(reference), openFlows()]
    if ((descriptors === '' && flows.length === 0) || performance.now() > deadline)
      return { descriptors, flows }
    await delay(200)
  }
}
// What a guest without power leaves behind lasts until it is detached: nobody is left who could end it.
network.guests.get('vm')?.detach()
say('the loads have ended; waiting until everything is as it was')
const after = await settled(before)

await engine?.close()
await network.close()
await vm.close()
const atTheEnd = await settled(atTheStart)
await tunnel.close()
outside.stdin?.end()
await rm(folder, { recursive: true, force: true })

const { text, isGood } = soakReport({
  ranMs,
  results,
  faults: schedule.times,
  samples,
  openAfter: after.descriptors,
  flowsAfter: after.flows,
  openAtTheEnd: atTheEnd.descriptors,
})
process.stdout.write(`${text}\n`, () => process.exit(isGood ? 0 : 1))
