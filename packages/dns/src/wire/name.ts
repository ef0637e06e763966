/**
 * Domain names as the wire has them: length-prefixed labels, any bytes, at most 255 of them (RFC 1035 3.1), compared without
 * regard to ASCII case (RFC 4343). Text exists at the edge only, with `\.` and `\DDD` escapes (RFC 4343 2.1).
 *
 * A `Name` also knows the hash of each of its suffixes, taken from the right, so that a table can be asked for a name or for
 * its closest enclosing suffix without a string being built:
 *
 * ```
 *   3 www 7 example 3 com 0
 *   │     │         │     └ hash(root)
 *   │     │         └ hash(com)          suffix(2)
 *   │     └ hash(example.com)            suffix(1)
 *   └ hash(www.example.com)              suffix(0) = the name itself
 * ```
 */

import { NetkitError } from '@netkit/core'

/** Longest name in `bytes`, with the root label (RFC 1035 2.3.4). */
export const MAX_NAME_LENGTH = 255
/** Longest label in `bytes`. */
export const MAX_LABEL_LENGTH = 63
const MAX_LABELS = 127

/** ASCII lower case of a byte; every other byte is left as it is. */
export const fold = (byte: number): number => (byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte)

const ROOT_HASH = 0x811c9dc5 | 0

/** A name, folded to lower case, with its suffix hashes. Made by `parseName`, `Name.from` or reused through `assign`. */
export class Name {
  /** Wire form, lower case; `length` bytes of it count. */
  bytes: Uint8Array
  /** Bytes in wire form, with the root label. */
  length = 1
  /** Labels, without the root label. */
  labels = 0
  /** Where each label starts in `bytes`. */
  readonly starts: Uint8Array
  /** Hash of the suffix that starts at each label; one more for the root. */
  readonly hashes: Int32Array
  #text: string | undefined

  /** @param labels - How many labels the name must be able to hold. */
  constructor(bytes: Uint8Array, labels: number) {
    this.bytes = bytes
    this.starts = new Uint8Array(labels + 1)
    this.hashes = new Int32Array(labels + 1)
    this.hashes[0] = ROOT_HASH
  }

  /** A name with room for any name: for reuse through `assign`. */
  static scratch(): Name {
    return new Name(new Uint8Array(MAX_NAME_LENGTH), MAX_LABELS)
  }

  /** A name of its own from uncompressed wire bytes that a scanner has passed. */
  static from(bytes: Uint8Array, offset = 0): Name {
    let end = offset
    let labels = 0
    for (let length = bytes[end] ?? 0; length !== 0; length = bytes[end] ?? 0) {
      end += length + 1
      labels++
    }
    const name = new Name(new Uint8Array(end + 1 - offset), labels)
    name.assign(bytes, offset)
    return name
  }

  /** Takes on the uncompressed name at `offset`, which a scanner has passed. Returns its length. */
  assign(bytes: Uint8Array, offset: number): number {
    const into = this.bytes
    const { starts, hashes } = this
    let at = 0
    let labels = 0
    for (;;) {
      const length = bytes[offset + at] ?? 0
      starts[labels] = at
      into[at] = length
      at++
      if (length === 0) break
      labels++
      for (const end = at + length; at < end; at++) into[at] = fold(bytes[offset + at] ?? 0)
    }
    let hash = ROOT_HASH
    hashes[labels] = hash
    let end = at - 1
    for (let label = labels - 1; label >= 0; label--) {
      const start = starts[label] ?? 0
      for (let i = start; i < end; i++) hash = Math.imul(hash ^ (into[i] ?? 0), 0x01000193)
      hashes[label] = hash
      end = start
    }
    this.length = at
    this.labels = labels
    this.#text = undefined
    return at
  }

  /** A copy that owns its memory. */
  clone(): Name {
    return Name.from(this.bytes)
  }

  /** Where the suffix that starts at `label` begins; `labels` is the root. */
  startOf(label: number): number {
    return this.starts[label] ?? 0
  }

  /** Hash of the suffix that starts at `label`. */
  hashOf(label: number): number {
    return this.hashes[label] ?? 0
  }

  /** Whether the suffix that starts at `label` equals `wire`, which is folded. */
  suffixEquals(label: number, wire: Uint8Array): boolean {
    const start = this.startOf(label)
    const { bytes } = this
    const { length } = wire
    if (this.length - start !== length) return false
    for (let i = 0; i < length; i++) if (bytes[start + i] !== wire[i]) return false
    return true
  }

  /** Whether both are the same name. */
  equals(other: Name): boolean {
    if (this.length !== other.length || this.hashOf(0) !== other.hashOf(0)) return false
    for (let i = 0; i < this.length; i++) if (this.bytes[i] !== other.bytes[i]) return false
    return true
  }

  /** Whether the name is `ancestor` or lies below it. */
  isWithin(ancestor: Name): boolean {
    const label = this.labels - ancestor.labels
    if (label < 0 || this.hashOf(label) !== ancestor.hashOf(0)) return false
    const start = this.startOf(label)
    if (this.length - start !== ancestor.length) return false
    for (let i = 0; i < ancestor.length; i++) {
      if (this.bytes[start + i] !== ancestor.bytes[i]) return false
    }
    return true
  }

  /** The wire bytes, in a copy. */
  toWire(): Uint8Array {
    return this.bytes.slice(0, this.length)
  }

  /** Presentation form, lower case, without the final dot; `.` is the root. */
  toString(): string {
    return (this.#text ??= nameToText(this.bytes, 0))
  }
}

/** Presentation form of the uncompressed name at `offset`, without the final dot; `.` is the root. */
export function nameToText(bytes: Uint8Array, offset: number): string {
  let text = ''
  for (let at = offset; ;) {
    const length = bytes[at++] ?? 0
    if (length === 0) return text === '' ? '.' : text
    if (text !== '') text += '.'
    for (const end = at + length; at < end; at++) text += escaped(bytes[at] ?? 0)
  }
}

function escaped(byte: number): string {
  if (byte === 0x2e || byte === 0x5c) return `\\${String.fromCharCode(byte)}`
  if (byte > 0x20 && byte < 0x7f) return String.fromCharCode(byte)
  return `\\${String(byte).padStart(3, '0')}`
}

/**
 * Wire form of a name in presentation form; the case is kept. A final dot makes no difference.
 * Names with other than ASCII characters are taken as already encoded by the caller (IDNA is the application's).
 *
 * @throws NetkitError `NETKIT_DNS_NAME` where a label is empty or longer than 63 bytes, or the name longer than 255.
 */
export function nameToWire(text: string): Uint8Array {
  const out = new Uint8Array(MAX_NAME_LENGTH + 1)
  const refuse = (why: string): never => {
    throw new NetkitError(
      'NETKIT_DNS_NAME',
      `"${text}" is not a domain name: ${why}. Write labels of 1 to 63 bytes, joined by dots, 253 characters at most.`,
    )
  }
  if (text === '' || text === '.') return out.slice(0, 1)
  let lengthAt = 0
  let at = 1
  const close = (): void => {
    const length = at - lengthAt - 1
    if (length === 0) refuse('it has an empty label')
    if (length > MAX_LABEL_LENGTH) refuse(`a label has ${length} bytes`)
    out[lengthAt] = length
    lengthAt = at++
  }
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i)
    if (code === 0x2e) {
      close()
      if (i === text.length - 1) return out.slice(0, at)
      continue
    }
    if (code === 0x5c) {
      const digits = /^\d{3}/.exec(text.slice(i + 1, i + 4))
      if (digits) {
        code = Number(digits[0])
        i += 3
      } else if (i + 1 < text.length) code = text.charCodeAt(++i)
      else refuse('it ends in a backslash')
    }
    if (code > 0xff) refuse('it holds a character beyond one byte; encode it by IDNA first')
    if (at >= MAX_NAME_LENGTH) refuse('it is too long')
    out[at++] = code
  }
  close()
  if (at > MAX_NAME_LENGTH) refuse('it is too long')
  return out.slice(0, at)
}

/**
 * A name from its presentation form.
 *
 * @throws NetkitError `NETKIT_DNS_NAME` where it is none.
 *
 * @example
 * ```ts
 * import { parseName } from '@netkit/dns'
 *
 * const name = parseName('WWW.Example.com.')
 * console.assert(name.toString() === 'www.example.com')
 * console.assert(name.isWithin(parseName('example.com')))
 * ```
 */
export function parseName(text: string): Name {
  return Name.from(nameToWire(text))
}
