/**
 * What a client says first on a connection: TLS, HTTP, something else, or nothing within 3 s, as with protocols in which the server
 * speaks first. What was read stays in the reader.
 */

import type { Clock } from '@netkit/core'
import { ClientHelloReader } from './client-hello.ts'
import type { ClientHello } from './client-hello.ts'
import { withDeadline } from './deadline.ts'
import { CLIENT_HELLO_BYTES, PEEK_DEADLINE_MS } from './limits.ts'
import type { StreamReader } from './stream-reader.ts'

/** The first words of a client. */
export type Opening =
  | { readonly kind: 'tls'; readonly hello: ClientHello }
  | { readonly kind: 'http' }
  | { readonly kind: 'other' }

/** Room for the hello and its record headers, down to a few bytes per record; more is not looked at. */
const PEEK_BYTES = 2 * CLIENT_HELLO_BYTES

/** Looks at what the client says. Never rejects. */
export async function peekOpening(clock: Clock, reader: StreamReader): Promise<Opening> {
  const pieces: Uint8Array[] = []
  try {
    return await withDeadline(clock, PEEK_DEADLINE_MS, undefined, async () => {
      const hello = new ClientHelloReader()
      let start = ''
      let length = 0
      for (;;) {
        const bytes = await reader.next()
        if (bytes === undefined) return { kind: 'other' }
        pieces.push(bytes)
        length += bytes.length
        if (start.length < METHOD_BYTES)
          start += Buffer.from(bytes).toString('latin1', 0, METHOD_BYTES)
        const result = hello.push(bytes)
        if (typeof result !== 'string') return { kind: 'tls', hello: result }
        if (result === 'more' && length <= PEEK_BYTES) continue
        if (/^[A-Z]{3,20} /.test(start)) return { kind: 'http' }
        if (!/^[A-Z]{1,20}$/.test(start)) return { kind: 'other' }
      }
    })
  } catch {
    return { kind: 'other' }
  } finally {
    for (const bytes of pieces.toReversed()) reader.pushBack(bytes)
  }
}

/** Longer methods than any that is registered, and the space behind. */
const METHOD_BYTES = 21
