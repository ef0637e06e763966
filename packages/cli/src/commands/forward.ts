/** `netkit forward`: published ports alone, on the host. */

import { createServer } from 'node:http'
import { formatEndpoint, NetkitError } from '@netkit/core'
import type { PortTarget } from '@netkit/core'
import { hostNetwork, serve } from '@netkit/core/node'
import { createPortBroker, openForwarderMux, parseForward } from '@netkit/ports'
import type { ForwardSpec, PublishedAddress } from '@netkit/ports'
import {
  createPortHelper,
  hostAddresses,
  hostHolders,
  maxFlowsByDescriptors,
  portControl,
  privilegedNetwork,
} from '@netkit/ports/node'
import { exitCodes, type ExitCode } from '../exit-codes.ts'
import type { Reporter } from '../reporter.ts'
import { aborted } from '../signals.ts'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { collect, collectParsed, jsonOption, type Execute, type WithJson } from '../command-line.ts'

/** Options of `netkit forward`. */
export interface ForwardCommandOptions {
  readonly allow?: readonly string[]
  readonly control?: string
  readonly forwarder?: string
  readonly proxyProtocol?: 1 | 2
}

/** Runs until `signal`. */
export async function forwardCommand(
  forwards: readonly ForwardSpec[],
  options: ForwardCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExitCode> {
  if (forwards.length === 0 && options.control === undefined) {
    throw new NetkitError(
      'NETKIT_FORWARD_INVALID',
      'Nothing to forward. Say what (netkit forward 8080=192.0.2.5:80), or give --control.',
    )
  }
  const sockets = hostNetwork()
  await using helper = createPortHelper()
  const host = privilegedNetwork(sockets, { helper })
  await using mux =
    options.forwarder === undefined
      ? undefined
      : await openForwarderMux(await sockets.connect({ path: options.forwarder }, { signal }), {
          signal,
        })
  const network: PortTarget['network'] = mux ?? sockets
  const helperState = (): { ready: boolean; hint: string } => {
    const { hint, state } = helper.status()
    return { ready: state === 'ready', hint }
  }
  await using broker = createPortBroker({
    host,
    holders: hostHolders({ helper: helperState }),
    addresses: hostAddresses(),
    policy: { ...(options.allow && { allow: options.allow }) },
    limits: { maxFlows: maxFlowsByDescriptors(mux === undefined ? 2 : 1) },
  })
  const lease = await broker.reserve(
    forwards.map(({ request }) => request),
    { owner: 'netkit forward', signal },
  )
  const { proxyProtocol } = options
  await lease.commit(
    forwards.map(({ to }) => ({ network, to, ...(proxyProtocol && { proxyProtocol }) })),
  )
  await using control =
    options.control === undefined
      ? undefined
      : await serve(createServer(portControl({ broker, network })), sockets, {
          path: options.control,
        })

  const ports = broker.list().map(({ address, target }) => ({
    listen: addressText(address),
    to: target === undefined ? '' : formatEndpoint(target),
  }))
  const lines = ports.map(({ listen, to }) => `${listen} → ${to}`)
  if (control !== undefined) lines.push(`control on ${formatEndpoint(control.address)}`)
  reporter.event('ready', { ports, control: options.control }, lines.join('\n'))
  // A guest whose forwarder is gone is reached by nobody: better to end than to refuse everyone in silence.
  const ended = await Promise.race([
    aborted(signal),
    mux?.closed ?? new Promise<never>(() => undefined),
  ])
  reporter.event('ended', { ports: broker.list() })
  if (ended !== undefined) reporter.error(ended)
  return signal.aborted ? exitCodes.ok : exitCodes.failed
}

const addressText = (address: PublishedAddress): string =>
  address.protocol === 'unix' ? address.path : `${formatEndpoint(address)}/${address.protocol}`

/** Declares `netkit forward`. */
export function declareForward(program: Command, execute: Execute): void {
  program
    .command('forward')
    .description('Published ports alone: listens on this host and leads to whatever it can reach.')
    .argument(
      '[forwards...]',
      '[ip:]port[-last][/udp]=target or /path=target',
      collectParsed(parseForward),
    )
    .option(
      '--allow <cidr>',
      'clients that may connect besides this host; repeat for more',
      collect,
    )
    .option('--control <path>', 'unix socket for port control over HTTP (see @netkit/ports)')
    .option(
      '--forwarder <path>',
      'reach the targets through the vpnkit-forwarder on this unix socket',
    )
    .addOption(
      new Option('--proxy-protocol <version>', 'tell the targets the client’s address').argParser(
        parseProxyVersion,
      ),
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  netkit forward 8080=192.0.2.5:80
  netkit forward 0.0.0.0:5353/udp=192.0.2.5:53 --allow 192.0.2.0/24
  netkit forward /tmp/web.sock=192.0.2.5:80 8443=unix:/run/app.sock
  netkit forward --control /tmp/ports.sock            # then: curl --unix-socket /tmp/ports.sock http://netkit/v1/ports

Exit status: 0 ended by SIGINT or SIGTERM, 1 failed while running, 2 wrong options (nothing was started).`,
    )
    .action(
      (forwards: readonly ForwardSpec[] | undefined, options: WithJson<ForwardCommandOptions>) =>
        execute(options, (reporter, signal) =>
          forwardCommand(forwards ?? [], options, reporter, signal),
        ),
    )
}

function parseProxyVersion(value: string): 1 | 2 {
  if (value === '1') return 1
  if (value === '2') return 2
  throw new InvalidArgumentError('The versions of the PROXY protocol are 1 and 2.')
}
