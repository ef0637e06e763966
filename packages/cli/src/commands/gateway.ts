/** `netkit gateway`: the user-mode network for a VM that somebody else runs. */

import { readFileSync } from 'node:fs'
import { egressRules, formatEndpoint, type EgressPolicy } from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import { captured, listeningLink, reconnectingLink, type FrameLink } from '@netkit/frames'
import { createGuestNetwork, openCaptureFile, parsePolicyFile } from '@netkit/guestnet'
import type { PublishSpec } from '@netkit/ports'
import { exitCodes, type ExitCode } from '../exit-codes.ts'
import { qemuArguments, shellLine } from '../qemu-arguments.ts'
import type { Reporter } from '../reporter.ts'
import { aborted } from '../signals.ts'

/** Options of `netkit gateway`. */
export interface GatewayCommandOptions {
  readonly qemu: string
  readonly connect?: true
  readonly mtu: number
  readonly subnet?: string
  readonly hostAlias?: true
  readonly publish?: readonly PublishSpec[]
  readonly pcap?: string
  readonly policy?: string
}

/** Runs until `signal`. */
export async function gatewayCommand(
  options: GatewayCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExitCode> {
  const policy = readPolicy(options.policy)
  const host = hostNetwork()
  await using network = await createGuestNetwork({
    host,
    hostAlias: options.hostAlias ?? false,
    ...(policy && { policy }),
    ...(options.subnet !== undefined && { subnet: options.subnet }),
  })
  await using file = options.pcap === undefined ? undefined : await openCaptureFile(options.pcap)
  await using link = await openLink(host, options)
  network.attach(file ? captured(link, file.capture, { name: 'vm' }) : link, { name: 'vm' })

  const published: string[] = []
  for (const spec of options.publish ?? []) {
    const lease = await network.publish(spec, { owner: 'netkit gateway' })
    published.push(
      ...lease.ports.map(({ ip, port, protocol }) => `${formatEndpoint({ ip, port })}/${protocol}`),
    )
  }

  const { gateway } = network
  const qemu = qemuArguments({
    path: options.qemu,
    qemuListens: options.connect === true,
    mtu: options.mtu,
  })
  reporter.event(
    'ready',
    {
      socket: options.qemu,
      role: options.connect ? 'connect' : 'listen',
      subnet: gateway.subnet,
      gateway: gateway.address,
      hostAlias: gateway.hostAlias,
      mtu: options.mtu,
      published,
      qemu,
    },
    [
      [
        `netkit gateway ${options.connect ? 'dials' : 'listens on'} ${options.qemu}: subnet ${gateway.subnet}`,
        `gateway ${gateway.address}`,
        ...(gateway.hostAlias === undefined ? [] : [`host ${gateway.hostAlias}`]),
        ...(published.length > 0 ? [`published ${published.join(' ')}`] : []),
      ].join(', '),
      `qemu-system-x86_64 … ${shellLine(qemu)}`,
    ].join('\n'),
  )
  await aborted(signal)
  reporter.event('ended', { guest: network.gateway.guests.get('vm')?.stats() })
  return exitCodes.ok
}

function readPolicy(file: string | undefined): EgressPolicy | undefined {
  if (file === undefined) return undefined
  const { rules, fallback } = parsePolicyFile(readFileSync(file, 'utf8'), file)
  return egressRules(rules, { fallback })
}

function openLink(
  host: ReturnType<typeof hostNetwork>,
  { qemu: path, connect, mtu }: GatewayCommandOptions,
): Promise<FrameLink> | FrameLink {
  return connect
    ? reconnectingLink({ open: (attempt) => host.connect({ path }, { signal: attempt }), mtu })
    : listeningLink({ acceptor: host, at: { path }, mtu })
}
