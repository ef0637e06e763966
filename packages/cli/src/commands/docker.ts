/** `netkit docker`: the Docker Engine API on this host, the engine elsewhere. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  createApiProxy,
  dockerContextCommand,
  formatDockerHost,
  inspectPorts,
  parseDockerHost,
} from '@netkit/apiproxy'
import { formatEndpoint, isIpEndpoint, NetkitError } from '@netkit/core'
import type { Dialer, Endpoint } from '@netkit/core'
import { hostNetwork, mutualTlsAcceptor, mutualTlsDialer } from '@netkit/core/node'
import type { TlsIdentity } from '@netkit/core/node'
import { createPortBroker } from '@netkit/ports'
import { hostAddresses, hostHolders } from '@netkit/ports/node'
import { exitCodes, type ExitCode } from '../exit-codes.ts'
import type { Reporter } from '../reporter.ts'
import { aborted } from '../signals.ts'
import type { Command } from 'commander'
import { jsonOption, type Execute, type WithJson } from '../command-line.ts'

/** Options of `netkit docker`. */
export interface DockerCommandOptions {
  readonly listen: string
  readonly engine: string
  /** Where the engine's published ports are reached; default the engine's own address, if it has one. */
  readonly guestIp?: string
  /** Folder with `ca.pem`, `cert.pem` and `key.pem`, as in `DOCKER_CERT_PATH`, for an engine on TCP. */
  readonly engineTls?: string
  /** The same for docker commands on TCP. */
  readonly listenTls?: string
  /** `false`: ports stay where the engine publishes them. */
  readonly publish: boolean
}

/** The certificates of one side, as docker keeps them. */
async function readIdentity(folder: string): Promise<TlsIdentity> {
  const read = (name: string): Promise<Buffer> => readFile(join(folder, name))
  return { ca: await read('ca.pem'), cert: await read('cert.pem'), key: await read('key.pem') }
}

async function engineDialer(
  network: Dialer,
  endpoint: Endpoint,
  folder: string | undefined,
): Promise<Dialer> {
  if (folder === undefined) return network
  const serverName = isIpEndpoint(endpoint) ? endpoint.ip : 'localhost'
  return mutualTlsDialer(network, { ...(await readIdentity(folder)), serverName })
}

/** Runs until `signal`. */
export async function dockerCommand(
  options: DockerCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExitCode> {
  const at = parseDockerHost(options.listen)
  const endpoint = parseDockerHost(options.engine)
  if (isIpEndpoint(at) && options.listenTls === undefined) {
    // Whoever reaches the API is root in the guest; a socket's file mode keeps other users out, a port does not.
    throw new NetkitError(
      'NETKIT_ENGINE_ENDPOINT',
      `netkit docker does not serve the API on TCP without TLS (${options.listen}): every user of this host could use it. Give --listen the path of a unix socket or a named pipe, or --listen-tls a folder with ca.pem, cert.pem and key.pem.`,
    )
  }
  const guestIp = options.guestIp ?? (isIpEndpoint(endpoint) ? endpoint.ip : undefined)
  if (options.publish && guestIp === undefined) {
    throw new NetkitError(
      'NETKIT_ENGINE_ENDPOINT',
      `Where the ports of ${options.engine} are reached is not known. Give --guest-ip the guest's address, or --no-publish.`,
    )
  }
  const network = hostNetwork()
  const engine = { network: await engineDialer(network, endpoint, options.engineTls), endpoint }
  const acceptor =
    options.listenTls === undefined
      ? network
      : mutualTlsAcceptor(network, await readIdentity(options.listenTls))
  await using broker = createPortBroker({
    host: network,
    holders: hostHolders(),
    addresses: hostAddresses(),
  })
  await using ports =
    guestIp !== undefined && options.publish
      ? inspectPorts({
          engine,
          publisher: broker,
          target: ({ hostPort }) => ({ network, to: { ip: guestIp, port: hostPort } }),
          onTrouble: ({ what, container, error }) =>
            reporter.event('trouble', {
              what,
              container,
              message: error instanceof Error ? error.message : String(error),
            }),
        })
      : undefined
  await using proxy = createApiProxy({
    engine,
    inspectors: ports === undefined ? [] : [ports],
    onRequest: (request) => reporter.event('request', { ...request }),
  })
  const listening = await proxy.listen(acceptor, at)
  const files = options.listenTls === undefined ? '' : ',ca=ca.pem,cert=cert.pem,key=key.pem'
  const context = `${dockerContextCommand(listening.address)}${files}`
  reporter.event(
    'ready',
    {
      listen: formatEndpoint(listening.address),
      engine: formatEndpoint(endpoint),
      dockerHost: formatDockerHost(listening.address),
      context,
    },
    `The engine at ${formatEndpoint(endpoint)} is served on ${formatEndpoint(listening.address)}.\n${context}`,
  )
  await aborted(signal)
  reporter.event('ended', { ...proxy.stats() })
  return exitCodes.ok
}

/** Declares `netkit docker`. */
export function declareDocker(program: Command, execute: Execute): void {
  program
    .command('docker')
    .description(
      'The Docker Engine API on this host, for an engine in a guest; its ports appear here.',
    )
    .requiredOption(
      '--listen <endpoint>',
      'for the docker command: a path, npipe:////./pipe/name, or tcp://ip:port with --listen-tls',
    )
    .option('--listen-tls <folder>', 'ca.pem, cert.pem and key.pem: who may connect on TCP')
    .option('--engine-tls <folder>', 'ca.pem, cert.pem and key.pem for an engine on TCP')
    .requiredOption('--engine <endpoint>', 'unix:///path, npipe:////./pipe/name or tcp://ip:port')
    .option('--guest-ip <ip>', 'where published ports are reached; default the engine’s address')
    .option('--no-publish', 'leave published ports where the engine binds them')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  netkit docker --listen /tmp/docker.sock --engine tcp://192.168.65.3:2375
  docker context create netkit --docker host=unix:///tmp/docker.sock

Exit status: 0 ended by SIGINT or SIGTERM, 1 failed while running, 2 wrong options (nothing was started).`,
    )
    .action((options: WithJson<DockerCommandOptions>) =>
      execute(options, (reporter, signal) => dockerCommand(options, reporter, signal)),
    )
}
