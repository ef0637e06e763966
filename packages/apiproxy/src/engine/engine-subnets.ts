/** The subnets of an engine's own networks: addresses that mean containers in the guest, whoever has them outside. */

import { EngineClient } from './engine-client.ts'
import { engineDialer } from './engine-dialer.ts'
import type { EngineOptions } from './engine-dialer.ts'

interface EngineNetwork {
  readonly IPAM?: { readonly Config?: readonly { readonly Subnet?: string }[] | null }
}

/**
 * Asks the engine for the subnets of its networks (CIDR): what a published port must not show to the guest as a client's address,
 * because the guest would answer into its own bridge (`PortTarget.preserveSource`).
 *
 * @throws when there is no engine, or it does not answer as one.
 */
export async function engineSubnets(
  engine: EngineOptions,
  options: { readonly signal?: AbortSignal } = {},
): Promise<string[]> {
  const client = new EngineClient(engineDialer({ ...engine, dialDeadlineMs: 0 }))
  const { json } = await client.call('GET', '/networks', options.signal)
  if (!Array.isArray(json)) throw new TypeError('the engine gave no list of networks')
  const subnets = (json as EngineNetwork[])
    .flatMap(({ IPAM }) => IPAM?.Config ?? [])
    .flatMap(({ Subnet = '' }) => (Subnet === '' ? [] : [Subnet]))
  return [...new Set(subnets)]
}
