import { addressScope, Cidr } from '@netkit/core'
import { layer } from '../layer.ts'
import type { Layer } from '../layer.ts'
import { makeReply } from '../reply.ts'
import { EDE, RCODE } from '../wire/header.ts'

/**
 * Refuses clients that are neither on this host nor in one of the blocks: an open resolver serves whoever wants to flood somebody else.
 *
 * @throws NetkitError `NETKIT_CIDR_INVALID`
 */
export function allowClients(blocks: readonly string[]): Layer {
  const allowed = blocks.map((block) => Cidr.parse(block))
  const error = { code: EDE.PROHIBITED, text: 'this client may not ask here' }
  return layer('allow clients', (query, next) => {
    const ip = query.client.source?.ip
    if (ip === undefined || allowed.some((block) => block.contains(ip))) return next(query)
    if (addressScope(ip) === 'loopback') return next(query)
    return makeReply(query, { from: 'allow clients', rcode: RCODE.REFUSED, error })
  })
}
