/**
 * The server's name in a TLS ClientHello (RFC 8446 4.1.2, RFC 6066 3), from however many records and segments it comes in.
 *
 * ```
 *   record(22, version, length) ─▶ handshake(1, length24) ─▶ version random session ciphers compression extensions
 *                                                              └─ 0 server_name · 16 ALPN · 0xfe0d encrypted_client_hello
 * ```
 */

import { CLIENT_HELLO_BYTES } from './limits.ts'

/** What a ClientHello says. */
export interface ClientHello {
  /** Lower case; `undefined` without the extension. With ECH it is the public name, not the real one. */
  readonly serverName: string | undefined
  readonly alpn: readonly string[]
  /** The real name is encrypted (RFC 9849). */
  readonly hasEch: boolean
}

/** `more`: not complete yet. `not-tls`: no ClientHello, and never will be. */
export type HelloResult = ClientHello | 'more' | 'not-tls'

/** Reads what has come so far, from the first byte. */
export function parseClientHello(bytes: Uint8Array): HelloResult {
  const handshake = joinRecords(bytes)
  if (handshake === 'not-tls') return 'not-tls'
  const message = handshake
  if (message.length > 0 && message[0] !== 1) return 'not-tls'
  if (message.length < 4) return 'more'
  const length = 4 + u24(message, 1)
  if (length > CLIENT_HELLO_BYTES) return 'not-tls'
  if (message.length < length) return 'more'
  return readHello(message.subarray(4, length)) ?? 'not-tls'
}

function joinRecords(bytes: Uint8Array): Uint8Array | 'not-tls' {
  const parts: Uint8Array[] = []
  let at = 0
  let size = 0
  while (at < bytes.length) {
    if (bytes[at] !== 22 || (at + 1 < bytes.length && bytes[at + 1] !== 3)) {
      // Another kind of record after the hello is complete is none of our business.
      if (size === 0 || !isComplete(parts)) return 'not-tls'
      break
    }
    if (at + 5 > bytes.length) break
    const length = u16(bytes, at + 3)
    if (length === 0 || length > 16_384) return 'not-tls'
    const part = bytes.subarray(at + 5, at + 5 + length)
    parts.push(part)
    size += part.length
    at += 5 + length
  }
  const message = new Uint8Array(size)
  let offset = 0
  for (const part of parts) {
    message.set(part, offset)
    offset += part.length
  }
  return message
}

function isComplete(parts: readonly Uint8Array[]): boolean {
  const head: number[] = []
  let size = 0
  for (const part of parts) {
    size += part.length
    for (let i = 0; i < part.length && head.length < 4; i++) head.push(part[i] ?? 0)
  }
  return head.length === 4 && size >= 4 + u24(Uint8Array.from(head), 1)
}

function readHello(body: Uint8Array): ClientHello | undefined {
  let at = 34
  const skip = (width: 1 | 2): boolean => {
    if (at + width > body.length) return false
    at += width + (width === 1 ? (body[at] ?? 0) : u16(body, at))
    return at <= body.length
  }
  if (body.length < 34 || !skip(1) || !skip(2) || !skip(1)) return undefined
  let serverName: string | undefined
  let alpn: readonly string[] = []
  let hasEch = false
  if (at === body.length) return { serverName, alpn, hasEch }
  if (at + 2 > body.length || at + 2 + u16(body, at) !== body.length) return undefined
  at += 2
  while (at < body.length) {
    if (at + 4 > body.length) return undefined
    const type = u16(body, at)
    const end = at + 4 + u16(body, at + 2)
    if (end > body.length) return undefined
    const data = body.subarray(at + 4, end)
    if (type === 0) {
      serverName = readServerName(data)
      if (serverName === undefined) return undefined
    } else if (type === 16) alpn = readAlpn(data)
    else if (type === 0xfe_0d) hasEch = true
    at = end
  }
  return { serverName, alpn, hasEch }
}

function readServerName(data: Uint8Array): string | undefined {
  if (data.length < 5 || data[2] !== 0) return undefined
  const length = u16(data, 3)
  if (u16(data, 0) !== data.length - 2 || length > data.length - 5) return undefined
  const name = String.fromCharCode(...data.subarray(5, 5 + length))
    .toLowerCase()
    .replace(/\.$/, '')
  return /^[a-z\d_](?:[a-z\d_.-]{0,252}[a-z\d_])?$/.test(name) ? name : undefined
}

function readAlpn(data: Uint8Array): string[] {
  const names: string[] = []
  for (let at = 2; at < data.length;) {
    const length = data[at] ?? 0
    names.push(String.fromCharCode(...data.subarray(at + 1, at + 1 + length)))
    at += 1 + length
  }
  return names
}

const u16 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
const u24 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 16) | u16(bytes, at + 1)
