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
  return new ClientHelloReader().push(bytes)
}

/** Reads a hello piece by piece; each byte is looked at once, however it is cut into segments and records. */
export class ClientHelloReader {
  // The record's header as far as it is there, and what is left of its content.
  readonly #header: number[] = []
  #left = 0
  #message = new Uint8Array(1024)
  #length = 0
  #result: HelloResult = 'more'

  /** Takes more bytes. The answer stays once it is not `more`. */
  push(bytes: Uint8Array): HelloResult {
    for (let at = 0; at < bytes.length && this.#result === 'more';) {
      if (this.#left === 0) this.#result = this.#takeHeader(bytes[at++] ?? 0)
      else {
        const part = bytes.subarray(at, at + this.#left)
        this.#append(part)
        at += part.length
        this.#left -= part.length
        this.#result = this.#read()
      }
    }
    return this.#result
  }

  #takeHeader(byte: number): 'more' | 'not-tls' {
    const header = this.#header
    header.push(byte)
    if (header[0] !== 22 || (header.length > 1 && header[1] !== 3)) return 'not-tls'
    if (header.length < 5) return 'more'
    this.#left = ((header[3] ?? 0) << 8) | (header[4] ?? 0)
    header.length = 0
    return this.#left === 0 || this.#left > 16_384 ? 'not-tls' : 'more'
  }

  #append(part: Uint8Array): void {
    if (this.#length + part.length > this.#message.length) {
      const larger = new Uint8Array(2 * (this.#length + part.length))
      larger.set(this.#message.subarray(0, this.#length))
      this.#message = larger
    }
    this.#message.set(part, this.#length)
    this.#length += part.length
  }

  #read(): HelloResult {
    const message = this.#message.subarray(0, this.#length)
    if (message[0] !== 1) return 'not-tls'
    if (message.length < 4) return 'more'
    const length = 4 + u24(message, 1)
    if (length > CLIENT_HELLO_BYTES) return 'not-tls'
    if (message.length < length) return 'more'
    return readHello(message.subarray(4, length)) ?? 'not-tls'
  }
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
