/** What the privileged helper is asked: one message of a fixed size, `helper/netkit-portd.c`. */

import { NetkitError, parseIpv4, parseIpv6 } from '@netkit/core'
import type { BoundAddress } from '../bind-overlap.ts'

/** Length of a request, `bytes`. */
export const HELPER_REQUEST_BYTES = 144
const PATH_OFFSET = 32
// sun_path of the shorter kind (xnu), with its terminator.
const MAX_PATH_BYTES = 103

/**
 * A request to bind `at`; with `relay` its connections are carried to that unix socket instead of the descriptor being passed.
 *
 * @throws NetkitError `NETKIT_HELPER_REQUEST_INVALID`
 */
export function encodeHelperRequest(id: number, at: BoundAddress, relay?: string): Uint8Array {
  const request = new Uint8Array(HELPER_REQUEST_BYTES)
  const view = new DataView(request.buffer)
  const v4 = parseIpv4(at.ip)
  const v6 = v4 === undefined ? parseIpv6(at.ip) : undefined
  const path = relay === undefined ? undefined : new TextEncoder().encode(relay)
  if (v4 === undefined && v6 === undefined) {
    throw new NetkitError(
      'NETKIT_HELPER_REQUEST_INVALID',
      `'${at.ip}' is not an IP address to bind.`,
    )
  }
  if (path !== undefined && (path.length > MAX_PATH_BYTES || path[0] !== 0x2f)) {
    throw new NetkitError(
      'NETKIT_HELPER_REQUEST_INVALID',
      `The relay's socket '${relay}' must be an absolute path of at most ${MAX_PATH_BYTES} bytes.`,
    )
  }
  request.set([
    0x4e,
    0x4b,
    0x50,
    0x42,
    1,
    1,
    at.protocol === 'tcp' ? 6 : 17,
    v4 === undefined ? 6 : 4,
  ])
  view.setUint32(8, id)
  view.setUint16(12, at.port)
  view.setUint16(14, path === undefined ? 0 : 1)
  if (v4 !== undefined) view.setUint32(16, v4)
  if (v6 !== undefined) request.set(v6, 16)
  if (path !== undefined) request.set(path, PATH_OFFSET)
  return request
}
