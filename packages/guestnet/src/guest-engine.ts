/**
 * A container engine in a guest, as if it ran on the host.
 *
 * ```
 *   docker CLI ──▶ unix socket / pipe ──▶ API proxy ──▶ gateway ──▶ guest:2375    policy · paths · ports look at what passes
 *   host client ─▶ 127.0.0.1:8080 ──────▶ PortBroker ─▶ gateway ──▶ guest:8080 ──▶ container
 * ```
 *
 * The guest serves the engine's API on a TCP port that it opens to the gateway's address alone, on the interface that leads there:
 * whoever reaches the API is root in the guest. docs/apiproxy.md shows the rule; a transport of another kind is given as `engine`.
 */

import {
  createApiProxy,
  dockerContextCommand,
  engineSubnets,
  formatDockerHost,
  inspectPaths,
  inspectPolicy,
  inspectPorts,
} from '@netkit/apiproxy'
import type {
  ApiPolicy,
  ApiProxy,
  ApiRequestEvent,
  ApiTroubleEvent,
  EngineOptions,
  Inspector,
  PathMapping,
  PortInspector,
} from '@netkit/apiproxy'
import { hostNetwork } from '@netkit/core/node'
import type { Acceptor, Clock, Endpoint } from '@netkit/core'
import { GuestDialer } from './guest-dialer.ts'
import type { GuestNetwork } from './guest-network.ts'

/** The TCP port of an engine's API in its guest. */
export const GUEST_ENGINE_PORT = 2375

/** Options of `serveEngine`. */
export interface GuestEngineOptions {
  /** Where docker commands find the engine: the path of a unix socket (created with mode 0600) or of a named pipe. */
  readonly listen: Endpoint
  /** Where `listen` is. Default the host OS. */
  readonly host?: Acceptor
  /** The guest with the engine. Default the one that was attached first. */
  readonly guest?: string
  /** How the engine's API is reached. Default TCP port 2375 of the guest, through the gateway. */
  readonly engine?: Pick<EngineOptions, 'network' | 'endpoint'>
  /** How long a request waits for an engine that does not answer yet, `ms`; default 30 s. */
  readonly dialDeadlineMs?: number
  /** Who may ask for what. Default: everything is allowed. */
  readonly policy?: ApiPolicy
  /** Where the host's files are in the guest. Default: the guest's paths are what they are. */
  readonly paths?: PathMapping
  /** Host addresses for `-p 80:80`, which names none. Default loopback. */
  readonly defaultIp?: string | readonly string[]
  /** Each request of a docker command when it has ended. */
  readonly onRequest?: (event: ApiRequestEvent) => void
  /** What went wrong where no command asked: a port that could not be published, an engine that is gone. */
  readonly onTrouble?: (event: ApiTroubleEvent) => void
  readonly clock?: Clock
}

/** An engine that is served on the host. */
export interface GuestEngine extends AsyncDisposable {
  readonly apiProxy: ApiProxy
  readonly publishedPorts: PortInspector
  /** For `DOCKER_HOST` and `docker -H`. */
  readonly dockerHost: string
  /** The shell command that makes it a docker context. */
  readonly contextCommand: string
  /** Gives all ports back and ends every connection; the engine itself goes on. Idempotent. */
  close(): Promise<void>
}

/** Docker's first bridges, for an engine that does not tell its own. */
const FIRST_BRIDGES = ['172.16.0.0/12']

/**
 * Serves a guest's engine on the host: its API on `listen`, its published ports on the host's addresses. The guest and its engine
 * may come later; until then docker commands wait.
 *
 * @example
 * ```ts
 * import { memoryNetwork } from '@netkit/core'
 * import { createGuestNetwork, serveEngine } from '@netkit/guestnet'
 *
 * await using network = await createGuestNetwork()
 * await using engine = await serveEngine(network, { listen: { path: '/run/me/docker.sock' }, host: memoryNetwork() })
 * console.assert(engine.dockerHost === 'unix:///run/me/docker.sock')
 * ```
 */
export async function serveEngine(
  network: GuestNetwork,
  options: GuestEngineOptions,
): Promise<GuestEngine> {
  const { gateway } = network
  const { policy, paths, defaultIp, onRequest, onTrouble, clock, dialDeadlineMs } = options
  const guest = new GuestDialer(gateway, options.guest)
  const engine: EngineOptions = {
    // The dialer puts the guest's address of the moment in the gateway's place.
    network: guest,
    endpoint: { ip: gateway.address, port: GUEST_ENGINE_PORT },
    ...options.engine,
    ...(clock && { clock }),
    ...(dialDeadlineMs !== undefined && { dialDeadlineMs }),
  }
  // Asked once for all ports of a container. To a client from there the guest would answer on its own bridge.
  let asking: Promise<string[]> | undefined
  const bridges = (): Promise<string[]> =>
    (asking ??= engineSubnets(engine)
      .catch(() => FIRST_BRIDGES)
      .finally(() => (asking = undefined)))
  const publishedPorts = inspectPorts({
    engine,
    publisher: network.ports,
    target: async ({ hostPort }) => ({
      network: guest,
      to: { ip: gateway.address, port: hostPort },
      preserveSource: { except: [gateway.subnet, ...(await bridges())] },
    }),
    ...(defaultIp !== undefined && { defaultIp }),
    ...(onTrouble && { onTrouble }),
  })
  const inspectors: Inspector[] = [
    ...(policy ? [inspectPolicy(policy)] : []),
    ...(paths ? [inspectPaths(paths)] : []),
    publishedPorts,
  ]
  const apiProxy = createApiProxy({ engine, inspectors, ...(onRequest && { onRequest }) })
  const close = async (): Promise<void> => {
    await apiProxy.close()
    await publishedPorts.close()
  }
  try {
    const { address } = await apiProxy.listen(options.host ?? hostNetwork(), options.listen)
    return {
      apiProxy,
      publishedPorts,
      dockerHost: formatDockerHost(address),
      contextCommand: dockerContextCommand(address),
      close,
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
