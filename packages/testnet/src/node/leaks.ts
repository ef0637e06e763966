/** Connections that a test opened and left. Listeners end with the net. */

import { NetkitError } from '@netkit/core'
import type { NodeTestnet } from './node-testnet.ts'

/** A line for each: the host, the port and the place in the program. */
export function leaksOf(net: NodeTestnet): string[] {
  return net
    .leaks()
    .filter(({ protocol, state }) => protocol === 'tcp' && state !== 'LISTEN')
    .map(
      ({ host, local, openedAt }) =>
        `${host}: port ${'port' in local ? local.port : ''}, opened at ${openedAt}`,
    )
}

/**
 * Ends what `fetch` and agents of hosts keep for later.
 *
 * @param report - What else there is to say of a test that failed.
 * @throws NetkitError `NETKIT_TESTNET_LEAK` for what the program itself left.
 */
export async function assertNoLeaks(net: NodeTestnet, report: () => string): Promise<void> {
  await net.closePools()
  const leaks = leaksOf(net)
  if (leaks.length === 0) return
  throw new NetkitError(
    'NETKIT_TESTNET_LEAK',
    `The test left ${leaks.length} connections open. End them before it is over:\n${leaks.join('\n')}\n\n${report()}`,
  )
}
