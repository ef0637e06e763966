/**
 * Varlink (varlink.org): calls and replies are JSON objects, each ended by a NUL, on a stream.
 *
 * ```
 *   {"method":"io.systemd.Resolve.ResolveRecord","parameters":{…}} NUL ─▶
 *                                            {"parameters":{…}} NUL ◀─    or {"error":"io.systemd.Resolve.…"}
 *   {"method":…,"more":true} NUL ─▶          one reply after another  ◀─  each but the last with "continues":true
 * ```
 */

import { blockOf, NetkitError } from '@netkit/core'
import type { ByteStream, Dialer } from '@netkit/core'
import { VARLINK_REPLY_BYTES } from '../limits.ts'
import { pump } from './pump.ts'

/** A call. */
export interface VarlinkCall {
  readonly method: string
  readonly parameters: object
  /** Whether more than one reply is wanted. */
  readonly more?: boolean
}

/** A reply. */
export interface VarlinkReply {
  /** The error's full name, such as `io.systemd.Resolve.NoNameServers`. */
  readonly error?: string
  readonly parameters?: unknown
}

/** Writes a call; `reply` runs for each reply, `gone` once when there will be none any more, with what was wrong. */
export function callVarlink(
  stream: ByteStream,
  call: VarlinkCall,
  reply: (reply: VarlinkReply) => void,
  gone: (error: NetkitError) => void,
): void {
  const parts: Uint8Array[] = []
  let total = 0
  let over = false
  const fail = (reason: string): void => {
    if (over) return
    over = true
    stream.reset()
    gone(new NetkitError('NETKIT_DNS_VARLINK', `${call.method}: the service ${reason}.`))
  }
  const take = (text: string): void => {
    let parsed: unknown
    try {
      parsed = JSON.parse(text)
    } catch {
      return fail('sent a reply that is not JSON')
    }
    if (typeof parsed !== 'object' || parsed === null) fail('sent a reply that is no object')
    else reply(parsed)
  }
  pump(
    stream,
    (bytes) => {
      for (let from = 0; from < bytes.length;) {
        if (over) return
        const end = bytes.indexOf(0, from)
        parts.push(bytes.slice(from, end < 0 ? bytes.length : end))
        total += (end < 0 ? bytes.length : end) - from
        if (total > VARLINK_REPLY_BYTES) return fail('sent a reply without end')
        if (end < 0) return
        from = end + 1
        take(Buffer.concat(parts.splice(0)).toString('utf8'))
        total = 0
      }
    },
    () => fail('closed the connection'),
  )
  const bytes = new TextEncoder().encode(`${JSON.stringify(call)}\0`)
  stream.write(blockOf(bytes), 0, bytes.length)
}

/** Calls a method once, over a connection of its own. */
export async function varlinkReply(
  network: Dialer,
  path: string,
  call: VarlinkCall,
  signal: AbortSignal,
): Promise<VarlinkReply> {
  const stream = await network.connect({ path }, { signal, origin: { layer: 'dns' } })
  try {
    return await new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
      callVarlink(stream, call, resolve, reject)
    })
  } finally {
    stream.reset()
  }
}
