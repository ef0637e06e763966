/** The `netkit` command: the program, its help and its exit codes. Each command declares itself in `commands/`. */

import { Command, CommanderError } from 'commander'
import { errorCode, isNetkitError } from '@netkit/core'
import type { Execute } from './command-line.ts'
import { declareDns, declareExplainDns } from './commands/dns.ts'
import { declareDocker } from './commands/docker.ts'
import { declareExplainEgress } from './commands/egress.ts'
import { declareForward } from './commands/forward.ts'
import { declareGateway } from './commands/gateway.ts'
import { declareExplainProxy, declareProxy } from './commands/proxy.ts'
import { declareUp } from './commands/up.ts'
import { exitCodes, type ExitCode } from './exit-codes.ts'
import { createReporter, type ReporterStreams } from './reporter.ts'
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
  'NETKIT_TARGET_INVALID',
])

/**
 * Runs one command line.
 *
 * @param argv - Without the program's name.
 * @returns The exit status.
 */
export async function run(argv: readonly string[], streams: ReporterStreams): Promise<ExitCode> {
  let result: ExitCode = exitCodes.ok
  const execute: Execute = async (options, command) => {
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

  declareGateway(program, execute)
  declareUp(program, execute)
  declareForward(program, execute)
  declareDns(program, execute)
  declareDocker(program, execute)
  declareProxy(program, execute)

  const explain = program
    .command('explain')
    .description('Why a name, a URL or a flow goes where it goes.')
  declareExplainProxy(explain, execute)
  declareExplainDns(explain, execute)
  declareExplainEgress(explain, execute)

  try {
    await program.parseAsync(argv, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  }
  return result
}
