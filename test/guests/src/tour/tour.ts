/**
 * The tour every guest takes: from a DHCP lease to a published port, each step a thing a person would try first. The steps are data;
 * who runs them (the demo, a test) decides what to print.
 */

import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { connect } from 'node:net'
import { hostname } from 'node:os'
import { runCommand } from '../run-command.ts'
import { findProgram } from '../qemu/qemu-files.ts'
import type { GuestKind } from '../guest.ts'
import type { GuestTools, Lease } from '../guest-tools.ts'
import { hostServices, refusedPort } from '../host-services.ts'
import { patternDigest } from '../pattern.ts'

/** What the tour needs of the network under test. */
export interface TourNetwork {
  /** In CIDR notation. */
  readonly subnet: string
  /** The gateway's address, which is the resolver's too. */
  readonly gateway: string
  /** The address that stands for the host's loopback. */
  readonly hostAlias: string
  /** Publishes a TCP port of the guest on the host's loopback; gives the host's port. */
  publish(guestPort: number): Promise<{ readonly port: number; close(): Promise<void> }>
  /** Ends the capture and gives its path; `undefined` when nothing was captured. */
  readonly capture?: (() => Promise<string | undefined>) | undefined
}

/** What a step works with. */
export interface TourContext {
  readonly tools: GuestTools
  readonly network: TourNetwork
  /** Bytes of the bulk steps. */
  readonly bulkBytes: number
  /** Set by the first step. */
  lease: Lease | undefined
}

/** One step. `run` rejects, with a sentence, when the step failed. */
export interface TourStep {
  readonly id: string
  readonly title: string
  run(context: TourContext): Promise<string>
}

/** What became of a step. */
export interface TourResult {
  readonly id: string
  readonly title: string
  readonly outcome: 'passed' | 'failed' | 'skipped'
  /** What was seen; the reason when it failed or was skipped. */
  readonly detail: string
  readonly durationMs: number
}

/** A step that this machine cannot run says so by throwing this. */
export class StepSkipped extends Error {}

/** The name under which guests know the host, as Docker Desktop has it. */
const HOST_NAME = 'host.docker.internal'

const GUEST_PORT = 8080

/** A refusal that takes longer than this was a time-out in disguise. */
const REFUSAL_MS = 2_000

const REPLY = 'hello from the guest\n'

function check(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Error(otherwise)
}

const megabytes = (bytes: number): string => `${bytes >> 20} MB`

function rate(bytes: number, ms: number): string {
  return `${((bytes * 8) / ms / 1000).toFixed(0)} Mbit/s`
}

/** Bulk size for a kind: an emulator in Wasm moves a quarter. */
export function bulkBytesFor(kind: GuestKind): number {
  return kind === 'v86' ? 16 << 20 : 64 << 20
}

/**
 * A name that the host's own resolver knows without asking anybody: the host's. Guests find the same addresses, those of the
 * loopback under its alias.
 */
export async function ownName(
  hostAlias: string,
): Promise<{ readonly name: string; readonly addresses: readonly string[] }> {
  const name = hostname()
  const found = await lookup(name, { all: true, family: 4 }).catch(() => [])
  // A host that does not know its own name knows this one.
  if (found.length === 0) return { name: 'localhost', addresses: [hostAlias] }
  const addresses = found.map(({ address }) => (address.startsWith('127.') ? hostAlias : address))
  return { name, addresses: [...new Set(addresses)] }
}

/** What the guest says on a published port. */
async function readPublished(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.setEncoding('utf8')
  let text = ''
  socket.on('data', (chunk: string) => (text += chunk))
  await once(socket, 'close')
  return text
}

/** The steps, in order. */
export const TOUR: readonly TourStep[] = [
  {
    id: 'dhcp',
    title: 'DHCP lease',
    async run(context) {
      const lease = await context.tools.lease()
      context.lease = lease
      const { gateway } = context.network
      check(lease.router === gateway, `The router is ${lease.router}, not ${gateway}.`)
      check(lease.dns.includes(gateway), `The resolver is ${lease.dns.join(' ')}, not ${gateway}.`)
      const mtu = lease.mtu === undefined ? '' : `, MTU ${lease.mtu}`
      return `${lease.ip}/${lease.prefix} from ${lease.serverId} for ${lease.seconds} s${mtu}`
    },
  },
  {
    id: 'arp',
    title: 'ARP',
    async run({ tools, network }) {
      const mac = await tools.neighbour(network.gateway)
      check(mac !== undefined, `Nobody answered for ${network.gateway}.`)
      return `${network.gateway} is at ${mac}`
    },
  },
  {
    id: 'ping',
    title: 'ping the gateway',
    async run({ tools, network }) {
      const { sent, received } = await tools.ping(network.gateway, 3)
      check(received === sent, `${received} of ${sent} were answered.`)
      return `${received} of ${sent} answered`
    },
  },
  {
    id: 'resolve',
    title: 'resolve a name as the host does',
    async run({ tools, network }) {
      const { name, addresses } = await ownName(network.hostAlias)
      const found = await tools.resolve(name)
      check(
        addresses.every((address) => found.includes(address)),
        `${name} is ${found.join(' ') || 'unknown'}; for the host it is ${addresses.join(' ')}.`,
      )
      return `${name} is ${found.join(' ')}`
    },
  },
  {
    id: 'host-name',
    title: HOST_NAME,
    async run({ tools, network }) {
      const addresses = await tools.resolve(HOST_NAME)
      check(addresses.includes(network.hostAlias), `It is ${addresses.join(' ') || 'unknown'}.`)
      return addresses.join(' ')
    },
  },
  {
    id: 'http',
    title: 'HTTP GET from a server of the host',
    async run({ tools }) {
      await using service = await hostServices.http('ipv4')
      const from = { host: HOST_NAME, port: service.port }
      const { status, body } = await tools.httpGet(from, '/hello')
      check(
        status === 200 && body.startsWith('hello, '),
        `Status ${status}, body ${JSON.stringify(body)}.`,
      )
      return `${status}, ${JSON.stringify(body.trim())}`
    },
  },
  {
    id: 'download',
    title: 'download, SHA-256 compared',
    async run({ tools, bulkBytes }) {
      await using service = await hostServices.http('ipv4')
      const expected = patternDigest(bulkBytes)
      const from = { host: HOST_NAME, port: service.port }
      const start = performance.now()
      const { bytes, sha256 } = await tools.download(from, `/bytes/${bulkBytes}`)
      const ms = performance.now() - start
      check(bytes === bulkBytes, `${bytes} of ${bulkBytes} bytes came.`)
      check(sha256 === expected, `The bytes are not those that were sent (${sha256}).`)
      return `${megabytes(bytes)}, ${rate(bytes, ms)} with hashing, ${sha256.slice(0, 12)}…`
    },
  },
  {
    id: 'upload',
    title: 'upload, SHA-256 compared',
    async run({ tools, bulkBytes }) {
      await using service = await hostServices.digest('ipv4')
      const to = { host: HOST_NAME, port: service.port }
      const start = performance.now()
      const { sent, answer } = await tools.upload(to, bulkBytes)
      const ms = performance.now() - start
      const expected = `${bulkBytes} ${sent.sha256}`
      check(answer === expected, `The host got ${answer}; the guest sent ${expected}.`)
      return `${megabytes(bulkBytes)}, ${rate(bulkBytes, ms)} with hashing, ${sent.sha256.slice(0, 12)}…`
    },
  },
  {
    id: 'published-port',
    title: 'a published port, from the host',
    async run({ tools, network }) {
      await using service = await tools.serve(GUEST_PORT, REPLY)
      const published = await network.publish(service.port)
      try {
        const text = await readPublished(published.port)
        check(text === REPLY, `The host read ${JSON.stringify(text)}.`)
        return `127.0.0.1:${published.port} is the guest’s ${service.port}`
      } finally {
        await published.close()
      }
    },
  },
  {
    id: 'refused-port',
    title: 'a port nobody listens on',
    async run({ tools }) {
      const port = await refusedPort('ipv4')
      const start = performance.now()
      const end = await tools.connect({ host: HOST_NAME, port })
      const ms = performance.now() - start
      check(end === 'refused', `The attempt ended with ${end}.`)
      check(ms < REFUSAL_MS, `The refusal took ${ms.toFixed(0)} ms.`)
      return 'refused at once'
    },
  },
  {
    id: 'capture',
    title: 'a capture that Wireshark reads',
    async run({ network }) {
      const path = await network.capture?.()
      if (path === undefined) throw new StepSkipped('nothing was captured')
      // Wireshark's reader without its dissectors, which would need a minute for the bulk steps.
      const capinfos = await findProgram('capinfos')
      if (capinfos === undefined)
        throw new StepSkipped(
          `capinfos (package wireshark-common) is not installed; the file is ${path}`,
        )
      const { code, stdout, stderr } = await runCommand(capinfos, ['-M', '-c', path], {
        timeoutMs: 60_000,
      })
      check(code === 0, `capinfos: ${stderr.trim()}`)
      const frames = /Number of packets:\s*(\d+)/.exec(stdout.toString())?.[1]
      check(Number(frames) > 0, 'capinfos found no frames in it.')
      return `${frames} frames`
    },
  },
]

/** How a tour is taken. */
export interface TourOptions {
  readonly tools: GuestTools
  readonly network: TourNetwork
  /** Default 64 MB; see `bulkBytesFor`. */
  readonly bulkBytes?: number
  /** Called before each step and after it. */
  readonly onStart?: (step: TourStep) => void
  readonly onResult?: (result: TourResult) => void
  readonly signal?: AbortSignal
}

/** Takes the tour. A step that fails does not end it, except the first: without a lease nothing else can work. */
export async function takeTour(options: TourOptions): Promise<readonly TourResult[]> {
  const { tools, network, bulkBytes = bulkBytesFor('qemu'), signal } = options
  const context: TourContext = { tools, network, bulkBytes, lease: undefined }
  const results: TourResult[] = []
  for (const step of TOUR) {
    signal?.throwIfAborted()
    options.onStart?.(step)
    const start = performance.now()
    const finish = (outcome: TourResult['outcome'], detail: string): void => {
      const { id, title } = step
      const result = { id, title, outcome, detail, durationMs: performance.now() - start }
      results.push(result)
      options.onResult?.(result)
    }
    const needsLease = step.id !== 'dhcp' && step.id !== 'capture'
    if (needsLease && context.lease === undefined) {
      finish('skipped', 'the guest has no lease')
      continue
    }
    try {
      finish('passed', await step.run(context))
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error)
      finish(error instanceof StepSkipped ? 'skipped' : 'failed', detail)
    }
  }
  return results
}
