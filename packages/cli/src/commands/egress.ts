/** `netkit explain egress`: whether a guest's flow would be let out, and why. */

import { createGuestNetwork } from '@netkit/guestnet'
import type { GuardedFlow } from '@netkit/core'
import type { Command } from 'commander'
import { jsonOption, type Execute, type WithJson } from '../command-line.ts'
import { exitCodes, type ExitCode } from '../exit-codes.ts'
import { readPolicy } from '../policy-option.ts'
import type { Reporter } from '../reporter.ts'

/** Options of `netkit explain egress`. */
export interface ExplainEgressOptions {
  readonly policy?: string
  readonly hostAlias?: true
  readonly udp?: true
}

/** Asks the guests' resolver and the policy; nothing is opened. */
export async function explainEgressCommand(
  target: string,
  options: ExplainEgressOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExitCode> {
  const policy = readPolicy(options.policy)
  await using network = await createGuestNetwork({
    proxy: false,
    hostAlias: options.hostAlias ?? false,
    ...(policy && { policy }),
  })
  const protocol = options.udp ? 'udp' : 'tcp'
  const { flows } = await network.explain(target, { protocol, signal })
  reporter.event(
    'explanation',
    { target, flows },
    [`${target} by ${protocol}`, ...flows.map(flowLine)].join('\n'),
  )
  return exitCodes.ok
}

function flowLine({ flow, verdict }: GuardedFlow): string {
  const what = `${flow.ip ?? 'no address'} (${flow.scope})`
  return `  ${what}: ${verdict.allow ? 'allowed' : 'denied'} by '${verdict.rule}': ${verdict.reason}`
}

/** Declares `netkit explain egress`. */
export function declareExplainEgress(explain: Command, execute: Execute): void {
  explain
    .command('egress')
    .description(
      'Tells whether a guest’s flow would be let out: each address, the rule and its reason.',
    )
    .argument('<host:port>')
    .option('--policy <file>', 'who may reach what; see docs/policy.md')
    .option('--host-alias', 'as with the host alias on')
    .option('--udp', 'a UDP flow; default TCP')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExample:\n  netkit explain egress registry.example:443 --policy allow.jsonc',
    )
    .action((target: string, options: WithJson<ExplainEgressOptions>) =>
      execute(options, (reporter, signal) =>
        explainEgressCommand(target, options, reporter, signal),
      ),
    )
}
