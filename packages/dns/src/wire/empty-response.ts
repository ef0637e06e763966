import { FLAG, HEADER } from './header.ts'

/** A response without records to a request that `writeRequest` wrote: its question, this code. */
export function emptyResponse(request: Uint8Array, questionEnd: number, rcode: number): Uint8Array {
  const out = request.slice(0, questionEnd)
  out[HEADER.flags] = (FLAG.QR >>> 8) | ((request[HEADER.flags] ?? 0) & 0x01)
  out[HEADER.flags + 1] = FLAG.RA | rcode
  out[HEADER.additionals + 1] = 0
  return out
}
