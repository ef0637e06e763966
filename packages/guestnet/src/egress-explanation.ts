/** Why a flow would go where it goes: names, addresses, and the policy's word on each, by the real chain. */

import { ipFamily, NetkitError } from '@netkit/core'
import type { FlowOrigin, GuardedFlow, GuardedNetwork, Resolver } from '@netkit/core'

/** Options of `GuestNetwork.explain`. */
export interface ExplainOptions {
  /** As which guest; default as any. */
  readonly guest?: string
  /** Default `tcp`. */
  readonly protocol?: 'tcp' | 'udp'
  readonly signal?: AbortSignal
}

/** What would happen to a flow. */
export interface EgressExplanation {
  readonly host: string
  readonly port: number
  /** One for each address of the name: the flow as the policy sees it, its verdict, the rule and the reason. */
  readonly flows: readonly GuardedFlow[]
}

/** What an explanation asks. */
export interface ExplainParts {
  readonly egress: GuardedNetwork
  readonly resolver: Resolver
}

/**
 * Asks the resolver and the policy; nothing is opened.
 *
 * @throws NetkitError `NETKIT_TARGET_INVALID`, or the resolver's error.
 */
export async function explainEgress(
  target: string,
  { egress, resolver }: ExplainParts,
  options: ExplainOptions,
): Promise<EgressExplanation> {
  const { guest, signal, protocol = 'tcp' } = options
  const { host, port } = parseTarget(target)
  const isAddress = ipFamily(host) !== undefined
  const addresses = isAddress ? [host] : await resolver.resolve(host, signal ? { signal } : {})
  const origin: FlowOrigin = {
    layer: 'user',
    chosenBy: 'guest',
    ...(guest !== undefined && { guest }),
    ...(!isAddress && { names: [host] }),
  }
  const flows = await Promise.all(
    addresses.map((ip) => egress.explain(protocol, { ip, port }, origin)),
  )
  return { host, port, flows }
}

function parseTarget(target: string): { host: string; port: number } {
  const found = /^(?:\[([^\]]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(target)
  const host = found?.[1] ?? found?.[2]
  const port = Number(found?.[3])
  if (host !== undefined && port > 0 && port <= 65_535) return { host, port }
  throw new NetkitError(
    'NETKIT_TARGET_INVALID',
    `'${target}' is not a host and a port. Write example.com:443, 192.0.2.1:53 or [2001:db8::1]:443.`,
  )
}
