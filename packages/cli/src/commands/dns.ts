/** `netkit dns`: the resolver alone, on the host; `netkit explain dns`: why a name is answered as it is. */

import { addressScope, formatEndpoint, NetkitError } from '@netkit/core'
import type { IpEndpoint } from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import {
  addressRecord,
  allowClients,
  createDnsServer,
  udpUpstream,
  upstreamGroup,
  zones,
} from '@netkit/dns'
import type { DnsServer, RecordSpec, Upstream } from '@netkit/dns'
import { hostResolver, hostsFile } from '@netkit/dns/node'
import { parseDnsEndpoint, parseDnsName } from '../dns-options.ts'
import { exitCodes, type ExitCode } from '../exit-codes.ts'
import type { Reporter } from '../reporter.ts'
import { aborted } from '../signals.ts'
import type { Command } from 'commander'
import { collect, jsonOption, type Execute, type WithJson } from '../command-line.ts'

/** Options that both commands have. */
export interface DnsChainOptions {
  /** Blocks of clients that may ask besides this host. */
  readonly allow?: readonly string[]
  readonly server?: readonly string[]
  readonly name?: readonly string[]
}

/** Options of `netkit dns`. */
export interface DnsCommandOptions extends DnsChainOptions {
  readonly listen: readonly string[]
}

/** Runs until `signal`. */
export async function dnsCommand(
  options: DnsCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExitCode> {
  const at = options.listen.map((value) => parseDnsEndpoint('--listen', value))
  const open = at.find(
    ({ ip }) => addressScope(ip) !== 'loopback' || ip === '0.0.0.0' || ip === '::',
  )
  if (open && (options.allow ?? []).length === 0) {
    throw new NetkitError(
      'NETKIT_DNS_OPTION',
      `${formatEndpoint(open)} can be reached from other machines. Say which may ask: --allow 192.168.0.0/16.`,
    )
  }
  const host = hostNetwork()
  const { server, upstream } = await makeServer(options)
  await using dns = server
  const listeners = await Promise.all(at.map((endpoint) => dns.listen(host, endpoint)))
  const listening = listeners.map(({ address }) => formatEndpoint(address))
  reporter.event(
    'ready',
    { listening, upstream },
    `netkit dns listens on ${listening.join(', ')} (UDP and TCP), asks ${upstream}`,
  )
  await aborted(signal)
  reporter.event('ended', { stats: dns.stats() })
  return exitCodes.ok
}

/** Asks once and tells the way. Exit status 1 where the answer is a failure. */
export async function explainDnsCommand(
  name: string,
  type: string,
  options: DnsChainOptions,
  reporter: Reporter,
): Promise<ExitCode> {
  const { server } = await makeServer(options)
  await using dns = server
  const { question, steps, answer, from, reply } = await dns.explain(name, type)
  reporter.event(
    'explanation',
    { question, steps, answer, from },
    [
      question,
      ...steps.map(({ layer, did }) => `  ${layer}: ${did}`),
      `→ ${answer}  [${from}]`,
    ].join('\n'),
  )
  return reply.rcode === 0 || reply.rcode === 3 ? exitCodes.ok : exitCodes.failed
}

async function makeServer(
  options: DnsChainOptions,
): Promise<{ server: DnsServer; upstream: string }> {
  const network = hostNetwork()
  const servers: readonly IpEndpoint[] = (options.server ?? []).map((value) =>
    parseDnsEndpoint('--server', value),
  )
  const names = new Map<string, RecordSpec[]>()
  for (const { name, ip } of (options.name ?? []).map(parseDnsName)) {
    names.set(name, [...(names.get(name) ?? []), addressRecord(ip)])
  }
  const local = zones()
  for (const [name, records] of names) local.set(name, records)
  const upstream: Upstream =
    servers.length > 0
      ? upstreamGroup(servers.map((server) => udpUpstream({ network, server })))
      : await hostResolver({ network })
  const server = createDnsServer({
    upstream,
    layers: [allowClients(options.allow ?? []), local],
    hosts: await hostsFile(),
  })
  return { server, upstream: upstream.name }
}

/** Declares `netkit dns`. */
export function declareDns(program: Command, execute: Execute): void {
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
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  netkit dns --listen 127.0.0.1:5353
  netkit dns --listen 127.0.0.1:5353 --name app.test=192.0.2.1 --name "*.apps.test=192.0.2.2"
  netkit dns --listen 0.0.0.0:53 --allow 192.168.0.0/16

Exit status: 0 ended by SIGINT or SIGTERM, 1 failed while running, 2 wrong options (nothing was started).`,
    )
    .action((options: WithJson<DnsCommandOptions>) =>
      execute(options, (reporter, signal) => dnsCommand(options, reporter, signal)),
    )
}

/** Declares `netkit explain dns`. */
export function declareExplainDns(explain: Command, execute: Execute): void {
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
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExit status: 0 answered (also: does not exist), 1 could not be found out, 2 wrong options.',
    )
    .action((name: string, type: string, options: WithJson<DnsChainOptions>) =>
      execute(options, (reporter) => explainDnsCommand(name, type, options, reporter)),
    )
}
