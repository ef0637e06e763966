/** EDNS(0): the OPT pseudo-record (RFC 6891) and extended errors (RFC 8914). OPT is per hop: it is never forwarded. */

import type { ExtendedError } from './header.ts'
import type { Message } from './message.ts'
import { RR_TYPE } from './rr-type.ts'

/** Bytes of an OPT record without options. */
export const OPT_LENGTH = 11
const OPTION_EDE = 15
/** The DO bit in the flags that OPT keeps in its TTL field (RFC 3225 3). */
export const FLAG_DO = 0x8000

const utf8 = new TextEncoder()
const fromUtf8 = new TextDecoder()

/** Bytes that `writeOpt` will write. */
export function optLength(error: EncodedError | undefined): number {
  return OPT_LENGTH + (error ? 6 + error.text.length : 0)
}

/** An extended error whose text is bytes already. */
export interface EncodedError {
  readonly code: number
  readonly text: Uint8Array
}

/** The text as UTF-8, cut to `max` bytes so that a reply stays small. */
export function encodeError(error: ExtendedError, max: number): EncodedError {
  return { code: error.code, text: utf8.encode(error.text).subarray(0, max) }
}

/** Writes OPT at `at`; returns where it ends. */
export function writeOpt(
  out: Uint8Array,
  at: number,
  size: number,
  rcode: number,
  dnssecOk: boolean,
  error?: EncodedError,
): number {
  out[at] = 0
  out[at + 1] = 0
  out[at + 2] = RR_TYPE.OPT
  out[at + 3] = size >>> 8
  out[at + 4] = size & 0xff
  out[at + 5] = (rcode >>> 4) & 0xff
  out[at + 6] = 0
  out[at + 7] = dnssecOk ? FLAG_DO >>> 8 : 0
  out[at + 8] = 0
  const length = error ? 6 + error.text.length : 0
  out[at + 9] = length >>> 8
  out[at + 10] = length & 0xff
  if (!error) return at + OPT_LENGTH
  out[at + 11] = 0
  out[at + 12] = OPTION_EDE
  out[at + 13] = (error.text.length + 2) >>> 8
  out[at + 14] = (error.text.length + 2) & 0xff
  out[at + 15] = error.code >>> 8
  out[at + 16] = error.code & 0xff
  out.set(error.text, at + 17)
  return at + OPT_LENGTH + length
}

/** The first extended error in a scanned message's OPT. */
export function readExtendedError(message: Message): ExtendedError | undefined {
  if (message.opt < 0) return undefined
  const { view, bytes } = message
  const end = message.endOf(message.opt)
  for (let at = message.rdataOf(message.opt); at + 4 <= end;) {
    const length = view.getUint16(at + 2)
    if (view.getUint16(at) === OPTION_EDE && length >= 2) {
      return {
        code: view.getUint16(at + 4),
        text: fromUtf8.decode(bytes.subarray(at + 6, at + 4 + length)),
      }
    }
    at += 4 + length
  }
  return undefined
}
