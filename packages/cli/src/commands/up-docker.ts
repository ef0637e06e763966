/** `netkit up --docker`: a guest with a container engine, for the docker command on this host. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NetkitError } from '@netkit/core'
import { captured } from '@netkit/frames'
import { createGuestNetwork, enginePortRange, openCaptureFile, serveEngine } from '@netkit/guestnet'
import {
  ENGINE_IMAGE,
  engineMissing,
  qemuEngineMissing,
  startEngineGuest,
  startQemuEngine,
  type QemuEngine,
} from '@netkit/guests'
import { exitCodes, type ExitCode } from '../exit-codes.ts'
import { inspected, type InspectOption } from '../inspect-option.ts'
import { errorText, type Reporter } from '../reporter.ts'
import { aborted } from '../signals.ts'

/** Options of `netkit up --docker`. */
export interface UpDockerOptions extends InspectOption {
  /** `auto`: namespaces of Linux where they can be had, else QEMU. */
  readonly guest: string
  /** The unix socket for docker commands; default one in a new temporary folder. */
  readonly listen?: string
  readonly pcap?: string
}

/** Starts the engine that was asked for, or the first that can run here. */
async function startEngine(
  guest: string,
  reporter: Reporter,
  options: Parameters<typeof startQemuEngine>[0],
): Promise<QemuEngine> {
  if (guest === 'qemu') return startQemuEngine(options)
  if (guest !== 'auto')
    throw new NetkitError(
      'NETKIT_GUEST_UNAVAILABLE',
      `A ${guest} guest has no container engine. Leave --guest out, or give it qemu.`,
    )
  const missing = await engineMissing()
  if (missing === undefined) return startEngineGuest(options)
  const missingInVm = await qemuEngineMissing()
  if (missingInVm !== undefined)
    throw new NetkitError(
      'NETKIT_GUEST_UNAVAILABLE',
      `No container engine can run here. In namespaces: ${missing} In QEMU: ${missingInVm}`,
    )
  reporter.progress(`No engine in namespaces: ${missing}`)
  return startQemuEngine(options)
}

/** Runs until `signal`; nothing of it is left behind. */
export async function upDockerCommand(
  options: UpDockerOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExitCode> {
  const started = performance.now()
  const folder = await mkdtemp(join(tmpdir(), 'netkit-up-'))
  try {
    await using capture =
      options.pcap === undefined ? undefined : await openCaptureFile(options.pcap)
    await using network = await createGuestNetwork({ hostAlias: true })
    await using page = inspected(options)
    await page.serve(network, reporter)
    await using guest = await startEngine(options.guest, reporter, {
      attach: (link) => {
        const watched = page.watched(link, 'engine')
        const seen = capture ? captured(watched, capture.capture, { name: 'engine' }) : watched
        network.attach(seen, { name: 'engine' })
      },
      portRange: enginePortRange(),
      progress: (text) => reporter.progress(text),
      signal,
    })
    await using engine = await serveEngine(network, {
      listen: { path: options.listen ?? join(folder, 'docker.sock') },
      onRequest: (request) => reporter.event('request', { ...request }),
      onTrouble: ({ what, container, error }) =>
        reporter.event(
          'trouble',
          { what, container, message: errorText(error) },
          `${what}${container === undefined ? '' : ` (container ${container.slice(0, 12)})`}: ${errorText(error)}`,
        ),
    })
    const { dockerHost, contextCommand } = engine
    reporter.event(
      'ready',
      {
        dockerHost,
        context: contextCommand,
        docker: guest.client.docker,
        gateway: network.gateway.address,
        startedMs: performance.now() - started,
      },
      `The engine runs. Published ports appear on this host; containers reach it as host.docker.internal.

  export DOCKER_HOST=${dockerHost}
  ${contextCommand}

Try: docker run --rm -p 8080:80 ${ENGINE_IMAGE} httpd -f -p 80 -h /www    and open http://localhost:8080/
(No docker command here? One that fits: ${guest.client.docker})

Ctrl-C ends it, with its containers and images.`,
    )
    await aborted(signal)
    reporter.event('ended', { ...engine.apiProxy.stats() })
    return exitCodes.ok
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
