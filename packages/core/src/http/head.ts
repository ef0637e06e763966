/** The head of an HTTP/1.1 message (RFC 9112), parsed strictly, its bytes kept as they came. */

import { HEAD_FIELDS } from '../limits.ts'
import type { HttpFault } from './fault.ts'

/** How long a message's body is (RFC 9112 6.3). */
export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  /** Until the connection ends. */
  | { readonly kind: 'close' }

/** One header field. */
export interface Field {
  /** Lower case. */
  readonly name: string
  /** Without the white space around it. */
  readonly value: string
  /** As it came, without its end. */
  readonly line: string
}

abstract class Head {
  /** The head as it came, the empty line included. */
  readonly bytes: Uint8Array
  readonly minorVersion: 0 | 1
  readonly fields: readonly Field[]

  constructor(bytes: Uint8Array, minorVersion: 0 | 1, fields: readonly Field[]) {
    this.bytes = bytes
    this.minorVersion = minorVersion
    this.fields = fields
  }

  /** The first value of a field; `name` in lower case. */
  field(name: string): string | undefined {
    return this.fields.find((field) => field.name === name)?.value
  }

  /** All members of a comma-separated field, in lower case. */
  list(name: string): string[] {
    return this.fields
      .filter((field) => field.name === name)
      .flatMap((field) => field.value.split(','))
      .map((member) => member.trim().toLowerCase())
      .filter((member) => member !== '')
  }

  /** Whether the connection may carry another message after this one (RFC 9112 9.3). */
  get keepsAlive(): boolean {
    const connection = this.list('connection')
    return this.minorVersion === 1
      ? !connection.includes('close')
      : connection.includes('keep-alive')
  }
}

/** The head of a request. */
export class RequestHead extends Head {
  readonly method: string
  readonly target: string

  constructor(
    bytes: Uint8Array,
    minorVersion: 0 | 1,
    fields: readonly Field[],
    method: string,
    target: string,
  ) {
    super(bytes, minorVersion, fields)
    this.method = method
    this.target = target
  }

  /** A request without length has no body. */
  get body(): BodyFraming {
    return declaredBody(this) ?? { kind: 'none' }
  }

  /** The protocol that the client offers to change to, or `undefined` (RFC 9110 7.8). */
  get upgrade(): string | undefined {
    return this.list('connection').includes('upgrade') ? this.list('upgrade')[0] : undefined
  }
}

/** The head of a response. */
export class ResponseHead extends Head {
  readonly status: number

  constructor(bytes: Uint8Array, minorVersion: 0 | 1, fields: readonly Field[], status: number) {
    super(bytes, minorVersion, fields)
    this.status = status
  }

  /** Depends on the request: HEAD has no body, a switched protocol is no body at all. */
  bodyFor(method: string): BodyFraming {
    if (method === 'HEAD' || this.status < 200 || this.status === 204 || this.status === 304) {
      return { kind: 'none' }
    }
    return declaredBody(this) ?? { kind: 'close' }
  }
}

function declaredBody(head: Head): BodyFraming | undefined {
  if (head.field('transfer-encoding') !== undefined) return { kind: 'chunked' }
  const length = head.field('content-length')
  return length === undefined ? undefined : { kind: 'length', length: Number(length) }
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// VCHAR, SP, HTAB and obs-text (RFC 9110 5.5); the head is decoded as latin1.
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/
const requestLine = /^(?<method>\S+) (?<target>[\x21-\x7e\x80-\xff]+) HTTP\/(?<version>\d\.\d)$/
const statusLine = /^HTTP\/(?<version>\d\.\d) (?<status>[1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/

function parseFields(lines: readonly string[]): readonly Field[] | HttpFault {
  if (lines.length > HEAD_FIELDS) return 'too-many-fields'
  const fields: Field[] = []
  for (const line of lines) {
    if (line.startsWith(' ') || line.startsWith('\t')) return 'folded-field'
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(colon, 0))
    if (!token.test(name)) return 'bad-field'
    const value = trimmed(line, colon + 1)
    if (!fieldValue.test(value)) return 'control-character'
    fields.push({ name: name.toLowerCase(), value, line })
  }
  return fields
}

/** Without spaces and tabs at both ends (RFC 9110 5.6.3); `trim` would take more. */
function trimmed(line: string, from: number): string {
  let [start, end] = [from, line.length]
  while (start < end && isBlank(line.charCodeAt(start))) start++
  while (end > start && isBlank(line.charCodeAt(end - 1))) end--
  return line.slice(start, end)
}

const isBlank = (code: number): boolean => code === 32 || code === 9

/** What would make the end of the message ambiguous. */
function framingFault(fields: readonly Field[]): HttpFault | undefined {
  const values = (name: string): string[] =>
    fields.filter((field) => field.name === name).map((field) => field.value)
  const lengths = values('content-length')
  const encodings = values('transfer-encoding')
  if (lengths.length > 1) return 'duplicate-content-length'
  if (encodings.length > 0) {
    if (lengths.length > 0) return 'content-length-with-transfer-encoding'
    if (encodings.length > 1 || encodings[0]?.toLowerCase() !== 'chunked')
      return 'unsupported-transfer-encoding'
  }
  const [length] = lengths
  if (length !== undefined && !(/^\d+$/.test(length) && Number.isSafeInteger(Number(length))))
    return 'bad-content-length'
  return undefined
}

interface ParsedLines {
  readonly first: string
  readonly fields: readonly Field[]
}

function parseLines(bytes: Uint8Array): ParsedLines | HttpFault {
  // latin1: one character per byte, so that nothing is lost or merged.
  const text = latin1(bytes)
  const [first = '', ...rest] = text.slice(0, -4).split('\r\n')
  if (/[\r\n]/.test(first) || rest.some((line) => line.includes('\n'))) return 'bare-line-feed'
  if (rest.some((line) => line.includes('\r'))) return 'bare-carriage-return'
  const fields = parseFields(rest)
  if (typeof fields === 'string') return fields
  return framingFault(fields) ?? { first, fields }
}

function latin1(bytes: Uint8Array): string {
  let text = ''
  // Spreading all of a head at once would overflow the stack.
  for (let at = 0; at < bytes.length; at += 4096) {
    // A typed array is as good as an array here, and copied by no iterator.
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + 4096) as unknown as number[])
  }
  return text
}

function minorOf(version: string | undefined): 0 | 1 | undefined {
  return version === '1.1' ? 1 : version === '1.0' ? 0 : undefined
}

/** Parses a request's head: `bytes` up to and with the empty line. */
export function parseRequestHead(bytes: Uint8Array): RequestHead | HttpFault {
  const lines = parseLines(bytes)
  if (typeof lines === 'string') return lines
  const { method, target, version } = requestLine.exec(lines.first)?.groups ?? {}
  if (method === undefined || target === undefined || !token.test(method)) return 'bad-request-line'
  const minor = minorOf(version)
  if (minor === undefined) return 'unsupported-version'
  if (lines.fields.filter((field) => field.name === 'host').length > 1) return 'duplicate-host'
  return new RequestHead(bytes, minor, lines.fields, method, target)
}

/** Parses a response's head: `bytes` up to and with the empty line. */
export function parseResponseHead(bytes: Uint8Array): ResponseHead | HttpFault {
  const lines = parseLines(bytes)
  if (typeof lines === 'string') return lines
  const { status, version } = statusLine.exec(lines.first)?.groups ?? {}
  if (status === undefined) return 'bad-status-line'
  const minor = minorOf(version)
  if (minor === undefined) return 'unsupported-version'
  return new ResponseHead(bytes, minor, lines.fields, Number(status))
}
