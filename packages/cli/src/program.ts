/** The `netkit` command: its options, help and exit codes. What the commands do stands in `commands/`. */

import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { errorCode, isNetkitError } from '@netkit/core'
import {
  dnsCommand,
  explainDnsCommand,
  type DnsChainOptions,
  type DnsCommandOptions,
} from './commands/dns.ts'
import { gatewayCommand, type GatewayCommandOptions } from './commands/gateway.ts'
import {
  explainProxyCommand,
  proxyCommand,
  type ProxyChainOptions,
  type ProxyCommandOptions,
} from './commands/proxy.ts'
import { upCommand, type UpCommandOptions } from './commands/up.ts'
import { forwardCommand, type ForwardCommandOptions } from './commands/forward.ts'
import { dockerCommand, type DockerCommandOptions } from './commands/docker.ts'
import { exitCodes, type ExitCode } from './exit-codes.ts'
import { parseForward, parsePublish, type ForwardSpec, type PublishSpec } from '@netkit/ports'
import { createReporter, type Reporter, type ReporterStreams } from './reporter.ts'
import { untilSignal } from './signals.ts'

/** Errors of the command line and the configuration: nothing was started, `exitCodes.usage`. */
const usageErrors = new Set([
  'EACCES',
  'EADDRINUSE',
  'EADDRNOTAVAIL',
  'EINVAL',
  'EISDIR',
  'ENAMETOOLONG',
  'ENOENT',
  'ENOTDIR',
  'EPERM',
  'EROFS',
])

/** What a failure before the command was ready means for whoever called it. */
export function exitCodeOf(error: unknown): ExitCode {
  if (isNetkitError(error, 'NETKIT_GUEST_UNAVAILABLE')) return exitCodes.usage
  if (isNetkitError(error))
    return configurationCodes.has(error.code) ? exitCodes.usage : exitCodes.failed
  return usageErrors.has(errorCode(error) ?? '') ? exitCodes.usage : exitCodes.failed
}

const configurationCodes = new Set<string>([
  'NETKIT_ADDRESS_INVALID',
  'NETKIT_CIDR_INVALID',
  'NETKIT_DNS_NAME',
  'NETKIT_DNS_OPTION',
  'NETKIT_DNS_RECORD',
  'NETKIT_ENGINE_ENDPOINT',
  'NETKIT_FORWARD_INVALID',
  'NETKIT_MTU',
  'NETKIT_PATH_TOO_LONG',
  'NETKIT_POLICY_FILE',
  'NETKIT_POLICY_INVALID',
  'NETKIT_PORT_REQUEST_INVALID',
  'NETKIT_PROXY_FAILURE',
  'NETKIT_PROXY_INVALID',
  'NETKIT_SUBNET_OVERLAP',
  'NETKIT_SUBNET_SIZE',
])

function mtu(value: string): number {
  const number = Number(value)
  // RFC 791 has every host take 576 bytes; 65520 is the largest that QEMU's buffers carry with its headers.
  if (!Number.isInteger(number) || number < 576 || number > 65_520) {
    throw new InvalidArgumentError('An MTU is 576 to 65520 bytes.')
  }
  return number
}

function publish(value: string, before: readonly PublishSpec[] = []): readonly PublishSpec[] {
  try {
    return [...before, parsePublish(value)]
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error))
  }
}

function forward(value: string, before: readonly ForwardSpec[] = []): readonly ForwardSpec[] {
  try {
    return [...before, parseForward(value)]
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error))
  }
}

function proxyVersion(value: string): 1 | 2 {
  if (value === '1') return 1
  if (value === '2') return 2
  throw new InvalidArgumentError('The versions of the PROXY protocol are 1 and 2.')
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  value,
]

const json = (): Option => new Option('--json', 'one JSON object per line instead of text')

/**
 * Runs one command line.
 *
 * @param argv - Without the program's name.
 * @returns The exit status.
 */
export async function run(argv: readonly string[], streams: ReporterStreams): Promise<ExitCode> {
  let result: ExitCode = exitCodes.ok
  const execute = async (
    options: { json?: true },
    command: (reporter: Reporter, signal: AbortSignal) => Promise<ExitCode>,
  ): Promise<void> => {
    const reporter = createReporter(streams, { json: options.json ?? false })
    using ended = untilSignal()
    try {
      result = await command(reporter, ended.signal)
    } catch (error) {
      if (ended.signal.aborted) return
      reporter.error(error)
      result = exitCodeOf(error)
    }
  }

  const program = new Command('netkit')
    .description("Give a Linux guest a network that behaves like the host's own.")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void streams.stdout.write(text),
      writeErr: (text) => void streams.stderr.write(text),
    })
    .showHelpAfterError('Run with --help for the options.')

  program
    .command('gateway')
    .description('The user-mode network for any VM: the same job as passt and gvproxy.')
    .requiredOption('--qemu <path>', 'unix socket in the framing of QEMU’s "-netdev stream"')
    .option(
      '--connect',
      'connect to a QEMU that listens on the path (and again when it goes), instead of listening',
    )
    .option('--mtu <bytes>', 'largest IP packet, announced by DHCP', mtu, 65_520)
    .option('--subnet <cidr>', 'default 192.168.65.0/24, or the next one free on this host')
    .option('--host-alias', 'let the guest reach the host’s loopback as host.docker.internal')
    .option(
      '--publish <[ip:]host:guest[/udp]>',
      'publish a port of the guest; repeat for more',
      publish,
    )
    .option('--pcap <file>', 'write the frames to a pcapng file')
    .option('--policy <file>', 'who may reach what; see docs/policy.md')
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  netkit gateway --qemu /tmp/net.sock
  netkit gateway --qemu /tmp/net.sock --publish 8080:80 --publish 5353:53/udp --host-alias
  netkit gateway --qemu /tmp/net.sock --connect       # QEMU before 8.0: it listens, netkit reconnects

Exit status: 0 ended by SIGINT or SIGTERM, 1 failed while running, 2 wrong options (nothing was started).`,
    )
    .action((options: GatewayCommandOptions & { json?: true }) =>
      execute(options, (reporter, signal) => gatewayCommand(options, reporter, signal)),
    )

  program
    .command('up')
    .description('Boots a guest and takes it on a tour of its network.')
    .addOption(
      new Option('--guest <kind>', 'which guest; auto takes the best this machine has')
        .choices(['auto', 'qemu', 'v86', 'scripted'])
        .default('auto'),
    )
    .option('--hold', 'leave the guest running until Ctrl-C')
    .option('--pcap <file>', 'write the frames to a pcapng file')
    .addOption(json())
    .addHelpText(
      'after',
      '\nExit status: 0 every step passed, 1 a step failed, 2 the guest cannot run here.',
    )
    .action((options: UpCommandOptions & { json?: true }) =>
      execute(options, (reporter, signal) => upCommand(options, reporter, signal)),
    )

  program
    .command('forward')
    .description('Published ports alone: listens on this host and leads to whatever it can reach.')
    .argument('[forwards...]', '[ip:]port[-last][/udp]=target or /path=target', forward)
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
        (value) => proxyVersion(value),
      ),
    )
    .addOption(json())
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
      (
        forwards: readonly ForwardSpec[] | undefined,
        options: ForwardCommandOptions & { json?: true },
      ) =>
        execute(options, (reporter, signal) =>
          forwardCommand(forwards ?? [], options, reporter, signal),
        ),
    )

  program
    .command('dns')
    .description(
      'The resolver alone, on this host: the host’s own name service, and names of yours.',
    )
    .requiredOption('--listen <ip:port>', 'where to serve, UDP and TCP; repeat for more', collect)
    .option(
      '--server <ip[:port]>',
      'ask this server, not the host’s resolver; repeat for more',
      collect,
    )
    .option(
      '--name <name=ip>',
      'a name of yours; "*.apps.test" is all below; repeat for more',
      collect,
    )
    .option('--allow <cidr>', 'clients that may ask besides this host; repeat for more', collect)
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  netkit dns --listen 127.0.0.1:5353
  netkit dns --listen 127.0.0.1:5353 --name app.test=192.0.2.1 --name "*.apps.test=192.0.2.2"
  netkit dns --listen 0.0.0.0:53 --allow 192.168.0.0/16

Exit status: 0 ended by SIGINT or SIGTERM, 1 failed while running, 2 wrong options (nothing was started).`,
    )
    .action((options: DnsCommandOptions & { json?: true }) =>
      execute(options, (reporter, signal) => dnsCommand(options, reporter, signal)),
    )

  program
    .command('docker')
    .description(
      'The Docker Engine API on this host, for an engine in a guest; its ports appear here.',
    )
    .requiredOption('--listen <path>', 'unix socket or named pipe for the docker command')
    .requiredOption('--engine <endpoint>', 'unix:///path, npipe:////./pipe/name or tcp://ip:port')
    .option('--guest-ip <ip>', 'where published ports are reached; default the engine’s address')
    .option('--no-publish', 'leave published ports where the engine binds them')
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  netkit docker --listen /tmp/docker.sock --engine tcp://192.168.65.3:2375
  docker context create netkit --docker host=unix:///tmp/docker.sock

Exit status: 0 ended by SIGINT or SIGTERM, 1 failed while running, 2 wrong options (nothing was started).`,
    )
    .action((options: DockerCommandOptions & { json?: true }) =>
      execute(options, (reporter, signal) => dockerCommand(options, reporter, signal)),
    )

  program
    .command('proxy')
    .description('The proxy alone, on this host: HTTP and SOCKS5 by the *_proxy variables.')
    .requiredOption('--listen <ip:port>', 'where to serve; loopback only; repeat for more', collect)
    .option('--proxy <url>', 'an upstream for everything: http, https or socks5://host:port')
    .addOption(json())
    .addHelpText(
      'after',
      '\nExample:\n  netkit proxy --listen 127.0.0.1:3128\n\nExit status: 0 ended by SIGINT or SIGTERM, 1 failed while running, 2 wrong options.',
    )
    .action((options: ProxyCommandOptions & { json?: true }) =>
      execute(options, (reporter, signal) => proxyCommand(options, reporter, signal)),
    )

  const explain = program
    .command('explain')
    .description('Why a name, a URL or a flow goes where it goes.')
  explain
    .command('proxy')
    .description('Tells which way a URL goes, and what each source of settings said.')
    .argument('<url>')
    .option('--proxy <url>', 'an upstream for everything')
    .addOption(json())
    .action((url: string, options: ProxyChainOptions & { json?: true }) =>
      execute(options, (reporter) => explainProxyCommand(url, options, reporter)),
    )
  explain
    .command('dns')
    .description('Asks for a name as a guest would, and tells what each layer did.')
    .argument('<name>')
    .argument('[type]', 'A, AAAA, SRV, TYPE65535, …', 'A')
    .option(
      '--server <ip[:port]>',
      'ask this server, not the host’s resolver; repeat for more',
      collect,
    )
    .option('--name <name=ip>', 'a name of yours; repeat for more', collect)
    .addOption(json())
    .addHelpText(
      'after',
      '\nExit status: 0 answered (also: does not exist), 1 could not be found out, 2 wrong options.',
    )
    .action((name: string, type: string, options: DnsChainOptions & { json?: true }) =>
      execute(options, (reporter) => explainDnsCommand(name, type, options, reporter)),
    )

  try {
    await program.parseAsync(argv, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  }
  return result
}
