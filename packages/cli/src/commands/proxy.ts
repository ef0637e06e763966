/** `netkit proxy`: the proxy alone, on the host; `netkit explain proxy`: why a URL goes where it goes. */

import { addressScope, formatEndpoint, NetkitError } from '@netkit/core'
import { hostNetwork, hostResolver } from '@netkit/core/node'
import {
  createProxyServer,
  describeDecision,
  fixedSettings,
  hostProxySources,
  requireProxy,
  settingsSource,
} from '@netkit/proxy'
import type { DecisionSource, DecisionStep } from '@netkit/proxy'
import { parseDnsEndpoint } from '../dns-options.ts'
import { exitCodes, type ExitCode } from '../exit-codes.ts'
import type { Reporter } from '../reporter.ts'
import { aborted } from '../signals.ts'
import type { Command } from 'commander'
import { collect, jsonOption, type Execute, type WithJson } from '../command-line.ts'

/** Options that both commands have. */
export interface ProxyChainOptions {
  /** An upstream for everything, in place of the host's settings. */
  readonly proxy?: string
}

/** Options of `netkit proxy`. */
export interface ProxyCommandOptions extends ProxyChainOptions {
  readonly listen: readonly string[]
}

/** Runs until `signal`. */
export async function proxyCommand(
  options: ProxyCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExitCode> {
  const at = options.listen.map((value) => parseDnsEndpoint('--listen', value))
  const open = at.find(
    ({ ip }) => addressScope(ip) !== 'loopback' || ip === '0.0.0.0' || ip === '::',
  )
  if (open) {
    throw new NetkitError(
      'NETKIT_PROXY_INVALID',
      `${formatEndpoint(open)} can be reached from other machines, and the proxy asks nobody who they are. Listen on 127.0.0.1 or [::1].`,
    )
  }
  const host = hostNetwork()
  const resolver = hostResolver()
  await using settings = await hostProxySources({ resolver })
  await using proxy = createProxyServer({
    network: host,
    resolver,
    sources: [manualSource(options), ...settings.sources],
  })
  settings.onChange(() => reporter.event('changed', {}, 'The host’s proxy settings changed.'))
  const listeners = await Promise.all(at.map((endpoint) => proxy.listen(host, endpoint)))
  const listening = listeners.map(({ address }) => formatEndpoint(address))
  reporter.event(
    'ready',
    { listening },
    `netkit proxy listens on ${listening.join(', ')} (HTTP and SOCKS5)`,
  )
  await aborted(signal)
  reporter.event('ended', { stats: proxy.stats() })
  return exitCodes.ok
}

/** Asks the chain and tells the way. */
export async function explainProxyCommand(
  url: string,
  options: ProxyChainOptions,
  reporter: Reporter,
): Promise<ExitCode> {
  const resolver = hostResolver()
  await using settings = await hostProxySources({ resolver })
  const sources = [manualSource(options), ...settings.sources]
  await using proxy = createProxyServer({ network: hostNetwork(), resolver, sources })
  const { steps, decision } = await proxy.explain(url)
  const way = describeDecision(decision)
  reporter.event(
    'explanation',
    { url, steps, way, from: decision.source },
    [url, ...steps.map(stepLine), `→ ${way}`].join('\n'),
  )
  return exitCodes.ok
}

const manualSource = ({ proxy }: ProxyChainOptions): DecisionSource =>
  settingsSource(
    'manual',
    fixedSettings(proxy === undefined ? {} : { all: requireProxy(proxy, '--proxy') }, '--proxy'),
  )

const stepLine = ({ source, said, from }: DecisionStep): string =>
  `  ${source}: ${said}${from === undefined ? '' : ` [${from}]`}`

/** Declares `netkit proxy`. */
export function declareProxy(program: Command, execute: Execute): void {
  program
    .command('proxy')
    .description(
      'The proxy alone, on this host: HTTP and SOCKS5, by the host’s settings of the moment.',
    )
    .requiredOption('--listen <ip:port>', 'where to serve; loopback only; repeat for more', collect)
    .option('--proxy <url>', 'an upstream for everything: http, https or socks5://host:port')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExample:\n  netkit proxy --listen 127.0.0.1:3128\n\nExit status: 0 ended by SIGINT or SIGTERM, 1 failed while running, 2 wrong options.',
    )
    .action((options: WithJson<ProxyCommandOptions>) =>
      execute(options, (reporter, signal) => proxyCommand(options, reporter, signal)),
    )
}

/** Declares `netkit explain proxy`. */
export function declareExplainProxy(explain: Command, execute: Execute): void {
  explain
    .command('proxy')
    .description('Tells which way a URL goes, and what each source of settings said.')
    .argument('<url>')
    .option('--proxy <url>', 'an upstream for everything')
    .addOption(jsonOption())
    .action((url: string, options: WithJson<ProxyChainOptions>) =>
      execute(options, (reporter) => explainProxyCommand(url, options, reporter)),
    )
}
