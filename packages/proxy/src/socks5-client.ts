/** The client's half of SOCKS5 (RFC 1928) with a name and a password (RFC 1929): names go to the proxy as they are. */

import { parseIpv4, parseIpv6, ipFamily } from '@netkit/core'
import { ProxyFailure } from './failure.ts'
import type { Credentials } from './authentication.ts'
import type { StreamReader, StreamWriter } from './stream-reader.ts'

/** Meanings of replies (RFC 1928 6), each as the failure it is for the client. */
const REPLIES: Readonly<
  Record<number, ['denied' | 'unreachable' | 'refused' | 'timeout' | 'upstream-refused', string]>
> = {
  1: ['upstream-refused', 'general failure'],
  2: ['denied', 'its rules do not allow it'],
  3: ['unreachable', 'network unreachable'],
  4: ['unreachable', 'host unreachable'],
  5: ['refused', 'connection refused'],
  6: ['timeout', 'TTL expired'],
  7: ['upstream-refused', 'it does not know CONNECT'],
  8: ['upstream-refused', 'it does not know this kind of address'],
}

/** Asks a SOCKS5 proxy for a connection; afterwards the stream is the tunnel. */
export async function socks5Connect(
  reader: StreamReader,
  writer: StreamWriter,
  target: { readonly host: string; readonly port: number },
  credentials: Credentials | undefined,
): Promise<void> {
  await writer.write(Uint8Array.from(credentials ? [5, 2, 0, 2] : [5, 1, 0]))
  const [version, method] = await reader.exactly(2)
  if (version !== 5) throw malformed('its first byte is not 5')
  if (method === 2 && credentials) {
    const name = Buffer.from(credentials.username)
    const password = Buffer.from(credentials.password)
    if (name.length > 255 || password.length > 255) {
      throw new ProxyFailure(
        'upstream-authentication',
        'SOCKS5 takes names and passwords of 255 bytes at most.',
      )
    }
    await writer.write(Uint8Array.from([1, name.length, ...name, password.length, ...password]))
    const [, status] = await reader.exactly(2)
    if (status !== 0) {
      throw new ProxyFailure(
        'upstream-authentication',
        'The SOCKS5 proxy refused the name or the password.',
      )
    }
  } else if (method !== 0) {
    throw new ProxyFailure(
      'upstream-authentication',
      'The SOCKS5 proxy asks for authentication; give a name and a password in its address.',
    )
  }
  await writer.write(
    Uint8Array.from([5, 1, 0, ...address(target.host), target.port >> 8, target.port & 255]),
  )
  const [replyVersion, reply = 1, , kind] = await reader.exactly(4)
  if (replyVersion !== 5) throw malformed('its reply does not begin with 5')
  if (reply !== 0) {
    const [code, said] = REPLIES[reply] ?? ['upstream-refused', `reply ${reply}`]
    throw new ProxyFailure(code, `The SOCKS5 proxy could not connect to ${target.host}: ${said}.`)
  }
  const length =
    kind === 1 ? 4 : kind === 4 ? 16 : kind === 3 ? ((await reader.exactly(1))[0] ?? 0) : -1
  if (length < 0) throw malformed('its reply has an address of no known kind')
  await reader.exactly(length + 2)
}

function address(host: string): number[] {
  if (ipFamily(host) === 4) {
    const value = parseIpv4(host) ?? 0
    return [1, value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]
  }
  if (ipFamily(host) === 6) return [4, ...(parseIpv6(host) ?? [])]
  const name = Buffer.from(host)
  if (name.length > 255) throw new ProxyFailure('bad-target', 'The name is longer than 255 bytes.')
  return [3, name.length, ...name]
}

const malformed = (why: string): ProxyFailure =>
  new ProxyFailure('upstream-malformed', `The SOCKS5 proxy does not speak SOCKS5: ${why}.`)
