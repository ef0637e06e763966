/** `netkit gateway`: the user-mode network for a VM that somebody else runs. */

import { createServer } from 'node:http'
import { formatEndpoint } from '@netkit/core'
import { hostNetwork, serve } from '@netkit/core/node'
import { captured, listeningLink, reconnectingLink, type FrameLink } from '@netkit/frames'
import { createGuestNetwork, flowComments, openCaptureFile } from '@netkit/guestnet'
import { parsePublish, type PublishSpec } from '@netkit/ports'
import { portControl } from '@netkit/ports/node'
import { exitCodes, type ExitCode } from '../exit-codes.ts'
import { inspected, inspectOption, type InspectOption } from '../inspect-option.ts'
import { followPolicy } from '../policy-option.ts'
import { qemuArguments, shellLine } from '../qemu-arguments.ts'
import type { Reporter } from '../reporter.ts'
import { aborted } from '../signals.ts'
import { InvalidArgumentError, type Command } from 'commander'
import { collectParsed, jsonOption, type Execute, type WithJson } from '../command-line.ts'

/** Options of `netkit gateway`. */
export interface GatewayCommandOptions extends InspectOption {
  readonly qemu: string
  readonly connect?: true
  readonly mtu: number
  readonly subnet?: string
  readonly hostAlias?: true
  readonly publish?: readonly PublishSpec[]
  readonly control?: string
  readonly pcap?: string
  readonly policy?: string
}

/** Runs until `signal`. */
export async function gatewayCommand(
  options: GatewayCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExitCode> {
  await using policy = await followPolicy(options.policy, reporter)
  const host = hostNetwork()
  await using network = await createGuestNetwork({
    host,
    hostAlias: options.hostAlias ?? false,
    ...(policy && { policy }),
    ...(options.subnet !== undefined && { subnet: options.subnet }),
  })
  await using file = options.pcap === undefined ? undefined : await openCaptureFile(options.pcap)
  await using link = await openLink(host, options)
  await using page = inspected(options)
  const seen = page.watched(link, 'vm')
  const capture = { name: 'vm', comment: flowComments(network.gateway) }
  network.attach(file ? captured(seen, file.capture, capture) : seen, { name: 'vm' })

  const published: string[] = []
  for (const spec of options.publish ?? []) {
    const lease = await network.publish(spec, { owner: 'netkit gateway' })
    published.push(
      ...lease.ports.map(({ ip, port, protocol }) => `${formatEndpoint({ ip, port })}/${protocol}`),
    )
  }

  // What is published over it reaches the guest as it does with --publish: clients keep their addresses where the guest can answer.
  const preserveSource = { except: [network.gateway.subnet] }
  const control = { broker: network.ports, network: network.network, preserveSource }
  await using controlled =
    options.control === undefined
      ? undefined
      : await serve(createServer(portControl(control)), host, { path: options.control })

  await page.serve(network, reporter)
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
      control: options.control,
      qemu,
    },
    [
      [
        `netkit gateway ${options.connect ? 'dials' : 'listens on'} ${options.qemu}: subnet ${gateway.subnet}`,
        `gateway ${gateway.address}`,
        ...(gateway.hostAlias === undefined ? [] : [`host ${gateway.hostAlias}`]),
        ...(published.length > 0 ? [`published ${published.join(' ')}`] : []),
        ...(controlled === undefined ? [] : [`control ${formatEndpoint(controlled.address)}`]),
      ].join(', '),
      `qemu-system-x86_64 … ${shellLine(qemu)}`,
    ].join('\n'),
  )
  await aborted(signal)
  reporter.event('ended', { guest: network.gateway.guests.get('vm')?.stats() })
  return exitCodes.ok
}

function openLink(
  host: ReturnType<typeof hostNetwork>,
  { qemu: path, connect, mtu }: GatewayCommandOptions,
): Promise<FrameLink> | FrameLink {
  return connect
    ? reconnectingLink({ open: (attempt) => host.connect({ path }, { signal: attempt }), mtu })
    : listeningLink({ acceptor: host, at: { path }, mtu })
}

/** Declares `netkit gateway`. */
export function declareGateway(program: Command, execute: Execute): void {
  program
    .command('gateway')
    .description('The user-mode network for any VM: the same job as passt and gvproxy.')
    .requiredOption('--qemu <path>', 'unix socket in the framing of QEMU’s "-netdev stream"')
    .option(
      '--connect',
      'connect to a QEMU that listens on the path (and again when it goes), instead of listening',
    )
    .option('--mtu <bytes>', 'largest IP packet, announced by DHCP', parseMtu, 65_520)
    .option('--subnet <cidr>', 'default 192.168.65.0/24, or the next one free on this host')
    .option('--host-alias', 'let the guest reach the host’s loopback as host.docker.internal')
    .option(
      '--publish <[ip:]host:guest[/udp]>',
      'publish a port of the guest; repeat for more',
      collectParsed(parsePublish),
    )
    .option(
      '--control <path>',
      'unix socket for port control over HTTP: netkit’s own form and gvproxy’s',
    )
    .option('--pcap <file>', 'write the frames to a pcapng file')
    .option('--policy <file>', 'who may reach what; see docs/policy.md')
    .addOption(inspectOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  netkit gateway --qemu /tmp/net.sock
  netkit gateway --qemu /tmp/net.sock --publish 8080:80 --publish 5353:53/udp --host-alias
  netkit gateway --qemu /tmp/net.sock --control /tmp/ports.sock   # then: curl --unix-socket /tmp/ports.sock http://netkit/v1/ports
  netkit gateway --qemu /tmp/net.sock --connect       # QEMU before 8.0: it listens, netkit reconnects

Exit status: 0 ended by SIGINT or SIGTERM, 1 failed while running, 2 wrong options (nothing was started).`,
    )
    .action((options: WithJson<GatewayCommandOptions>) =>
      execute(options, (reporter, signal) => gatewayCommand(options, reporter, signal)),
    )
}

function parseMtu(value: string): number {
  const number = Number(value)
  // RFC 791 has every host take 576 bytes; 65520 is the largest that QEMU's buffers carry with its headers.
  if (!Number.isInteger(number) || number < 576 || number > 65_520) {
    throw new InvalidArgumentError('An MTU is 576 to 65520 bytes.')
  }
  return number
}
