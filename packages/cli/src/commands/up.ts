/** `netkit up`: boots a guest on a network of its own and takes it on the tour. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isNetkitError, NetkitError } from '@netkit/core'
import { captured, type FrameLink } from '@netkit/frames'
import {
  createGuestNetwork,
  flowComments,
  openCaptureFile,
  type GuestNetwork,
} from '@netkit/guestnet'
import {
  bulkBytesFor,
  guestOptions,
  startGuest,
  takeTour,
  type GuestOption,
  type StartedGuest,
  type TourNetwork,
} from '@netkit/guests'
import { exitCodes, type ExitCode } from '../exit-codes.ts'
import { inspected, inspectOption, type InspectOption } from '../inspect-option.ts'
import type { Reporter } from '../reporter.ts'
import { aborted } from '../signals.ts'
import { tourLine, tourSummary } from '../tour-table.ts'
import { Option, type Command } from 'commander'
import { upDockerCommand } from './up-docker.ts'
import { jsonOption, type Execute, type WithJson } from '../command-line.ts'

/** Options of `netkit up`. */
export interface UpCommandOptions extends InspectOption {
  readonly guest: 'auto' | GuestOption['kind']
  readonly hold?: true
  readonly pcap?: string
  /** A guest with a container engine, until Ctrl-C, and no tour. */
  readonly docker?: true
  /** With `docker`: where docker commands connect. */
  readonly listen?: string
}

/** A file for the capture: the one asked for, or one that goes when the tour is over. */
async function captureTarget(
  asked: string | undefined,
): Promise<{ path: string } & AsyncDisposable> {
  if (asked !== undefined) return { path: asked, [Symbol.asyncDispose]: () => Promise.resolve() }
  const folder = await mkdtemp(join(tmpdir(), 'netkit-up-'))
  return {
    path: join(folder, 'tour.pcapng'),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

/** Starts the best of the guests that can run; one that turns out not to is told, and the next one is tried. */
async function startBest(
  candidates: readonly GuestOption[],
  reporter: Reporter,
  start: (kind: GuestOption['kind']) => Promise<StartedGuest>,
): Promise<StartedGuest> {
  const [candidate, ...rest] = candidates
  if (!candidate)
    throw new NetkitError('NETKIT_GUEST_UNAVAILABLE', 'No guest can run on this machine.')
  if (candidate.available) {
    try {
      return await start(candidate.kind)
    } catch (error) {
      if (rest.length === 0 || !isNetkitError(error, 'NETKIT_GUEST_UNAVAILABLE')) throw error
      reporter.progress(error.message)
    }
  } else {
    const text = `No ${candidate.kind} guest: ${candidate.missing}. To get it: ${candidate.advice}`
    if (rest.length === 0) throw new NetkitError('NETKIT_GUEST_UNAVAILABLE', text)
    reporter.progress(text)
  }
  return startBest(rest, reporter, start)
}

function tourNetwork(network: GuestNetwork, endCapture: () => Promise<string>): TourNetwork {
  const { gateway } = network
  return {
    subnet: gateway.subnet,
    gateway: gateway.address,
    hostAlias: gateway.hostAlias ?? '',
    async publish(guestPort) {
      const lease = await network.publish({ request: { protocol: 'tcp', port: 0 }, guestPort })
      return { port: lease.ports[0]?.port ?? 0, close: () => lease.abort() }
    },
    capture: endCapture,
  }
}

/** Boots, takes the tour, prints it. */
export async function upCommand(
  options: UpCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExitCode> {
  if (options.docker) return upDockerCommand(options, reporter, signal)
  const started = performance.now()
  const all = await guestOptions()
  const candidates =
    options.guest === 'auto' ? all : all.filter(({ kind }) => kind === options.guest)
  await using target = await captureTarget(options.pcap)
  await using file = await openCaptureFile(target.path)
  await using network = await createGuestNetwork({ hostAlias: true })
  await using page = inspected(options)
  await page.serve(network, reporter)
  const attach = (link: FrameLink): void => {
    const seen = page.watched(link, 'guest')
    const comment = flowComments(network.gateway)
    network.attach(captured(seen, file.capture, { name: 'guest', comment }), { name: 'guest' })
  }
  await using guest = await startBest(candidates, reporter, (kind) =>
    startGuest(kind, {
      attach,
      signal,
      // What a stream carries without trouble; v86's virtio device and the scripted guest keep to Ethernet's.
      ...(kind === 'qemu' && { mtu: 65_520 }),
      progress: (text) => reporter.progress(text),
    }),
  )
  reporter.event(
    'guest',
    { kind: guest.kind, description: guest.description, startedMs: performance.now() - started },
    `Guest: ${guest.description}\n`,
  )

  const results = await takeTour({
    tools: guest.tools,
    bulkBytes: bulkBytesFor(guest.kind),
    network: tourNetwork(network, async () => {
      await file[Symbol.asyncDispose]()
      return target.path
    }),
    signal,
    onResult: (result) => reporter.event('step', { ...result }, tourLine(result)),
  })
  const problems = guest.problems
  for (const problem of problems)
    reporter.event('problem', { problem }, `  the guest saw: ${problem}`)
  const better = all
    .slice(
      0,
      all.findIndex(({ kind }) => kind === guest.kind),
    )
    .filter(({ available }) => !available)
  const passed = results.every(({ outcome }) => outcome !== 'failed') && problems.length === 0
  reporter.event(
    'tour',
    { passed, guest: guest.kind, totalMs: performance.now() - started, better },
    tourSummary(results, guest.kind, better, performance.now() - started),
  )
  if (options.hold) {
    reporter.event(
      'holding',
      { gateway: network.gateway.address },
      'The guest keeps running. Ctrl-C ends it.',
    )
    await aborted(signal)
  }
  return passed ? exitCodes.ok : exitCodes.failed
}

/** Declares `netkit up`. */
export function declareUp(program: Command, execute: Execute): void {
  program
    .command('up')
    .description('Boots a guest and takes it on a tour of its network.')
    .addOption(
      new Option('--guest <kind>', 'which guest; auto takes the best this machine has')
        .choices(['auto', 'qemu', 'v86', 'scripted'])
        .default('auto'),
    )
    .option(
      '--docker',
      'no tour, but a container engine (in namespaces as root on Linux, else in QEMU), until Ctrl-C',
    )
    .option('--listen <path>', 'with --docker: unix socket for the docker command')
    .option('--hold', 'leave the guest running until Ctrl-C')
    .option('--pcap <file>', 'write the frames to a pcapng file')
    .addOption(inspectOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  netkit up
  netkit up --hold --inspect                       # and a page that shows all of it, until Ctrl-C
  netkit up --docker --listen /tmp/docker.sock     # then: docker -H unix:///tmp/docker.sock run -p 8080:80 …

Exit status: 0 every step passed, 1 a step failed, 2 the guest cannot run here.`,
    )
    .action((options: WithJson<UpCommandOptions>) =>
      execute(options, (reporter, signal) => upCommand(options, reporter, signal)),
    )
}
