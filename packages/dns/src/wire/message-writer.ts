/**
 * Writes messages, with names compressed (RFC 1035 4.1.4): owner names always, names in RDATA where RFC 3597 4 lets one.
 * A record either fits below the limit and is written whole, or leaves no trace.
 *
 * Sources are bytes and an offset, be it a scanned message (whose names may be compressed) or RDATA of one's own (whose are not).
 */

import { FLAG, HEADER, HEADER_LENGTH } from './header.ts'
import type { Message } from './message.ts'
import { expandName } from './message.ts'
import { fold, MAX_NAME_LENGTH, Name } from './name.ts'
import { mayCompressRdata, rdataLayout } from './rdata-layout.ts'

/** Section of a record: 0 answer, 1 authority, 2 additional. */
export type Section = 0 | 1 | 2

const SECTION_COUNT = [HEADER.answers, HEADER.authorities, HEADER.additionals] as const
/** Where a pointer can no longer point to. */
const POINTER_REACH = 0x4000

/** Builds one message after another. */
export class MessageWriter {
  #bytes: Uint8Array = new Uint8Array(1024)
  #view: DataView = new DataView(this.#bytes.buffer)
  #at = HEADER_LENGTH
  #limit = 0xffff
  // Where suffixes were written, by hash; the bytes decide.
  readonly #suffixes = new Map<number, number>()
  // The hashes written since the record began, to forget them when it does not fit.
  readonly #fresh: number[] = []
  readonly #ttls: number[] = []
  readonly #name = Name.scratch()
  readonly #expanded = new Uint8Array(MAX_NAME_LENGTH)

  /** Begins a message of at most `limit` bytes with these flags; the id is 0. */
  begin(flags: number, limit = 0xffff): this {
    this.#bytes.fill(0, 0, HEADER_LENGTH)
    this.#view.setUint16(HEADER.flags, flags)
    this.#at = HEADER_LENGTH
    this.#limit = limit
    this.#suffixes.clear()
    this.#ttls.length = 0
    return this
  }

  /** Bytes so far. */
  get length(): number {
    return this.#at
  }

  /** Adds a question. */
  question(name: Uint8Array, offset: number, type: number, classNumber: number): this {
    this.#room(MAX_NAME_LENGTH + 4)
    this.#fresh.length = 0
    this.#writeName(name, offset, true)
    this.#u16(type)
    this.#u16(classNumber)
    this.#count(HEADER.questions)
    return this
  }

  /** Adds a record; `false` when it does not fit, and then nothing was written. */
  record(
    section: Section,
    owner: Uint8Array,
    ownerOffset: number,
    type: number,
    classNumber: number,
    ttl: number,
    rdata: Uint8Array,
    start = 0,
    end: number = rdata.length,
  ): boolean {
    const before = this.#at
    this.#fresh.length = 0
    // Names grow when they are expanded: RDATA of one layout holds two of them at most.
    this.#room(3 * MAX_NAME_LENGTH + 10 + (end - start))
    this.#writeName(owner, ownerOffset, true)
    this.#u16(type)
    this.#u16(classNumber)
    const ttlAt = this.#at
    this.#u16(ttl >>> 16)
    this.#u16(ttl & 0xffff)
    const lengthAt = this.#at
    this.#at += 2
    this.#writeRdata(type, rdata, start, end)
    if (this.#at > this.#limit) {
      for (const hash of this.#fresh) this.#suffixes.delete(hash)
      this.#at = before
      return false
    }
    this.#view.setUint16(lengthAt, this.#at - lengthAt - 2)
    this.#ttls.push(ttlAt)
    this.#count(SECTION_COUNT[section])
    return true
  }

  /** Copies record `i` of a scanned message, maybe into another section or class; `false` when it does not fit. */
  copy(
    message: Message,
    i: number,
    section: Section = message.sectionOf(i),
    classNumber: number = message.classOf(i),
  ): boolean {
    const { bytes } = message
    return this.record(
      section,
      bytes,
      message.ownerOf(i),
      message.typeOf(i),
      classNumber,
      message.ttlOf(i),
      bytes,
      message.rdataOf(i),
      message.endOf(i),
    )
  }

  /** Sets TC. */
  truncated(): void {
    this.#view.setUint16(HEADER.flags, this.#view.getUint16(HEADER.flags) | FLAG.TC)
  }

  /** The message, in memory of its own. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#at)
  }

  /** Where the TTLs of the records are, ascending. */
  ttls(): Uint16Array {
    return Uint16Array.from(this.#ttls)
  }

  #writeRdata(type: number, bytes: Uint8Array, start: number, end: number): void {
    const layout = rdataLayout(type)
    const compress = mayCompressRdata(type)
    let from = start
    for (let i = 0; i < layout.length; i++) {
      const field = layout[i]
      let length: number
      if (field === 'n') {
        this.#writeName(bytes, from, compress)
        from = endOfName(bytes, from)
        continue
      }
      if (field === 's') length = 1 + (bytes[from] ?? 0)
      else if (field === 'q') length = 16
      else if (field !== undefined && field >= '0' && field <= '9') length = Number(field)
      else length = end - from
      for (const stop = Math.min(from + length, end); from < stop; from++) {
        this.#bytes[this.#at++] = bytes[from] ?? 0
      }
    }
  }

  #writeName(bytes: Uint8Array, offset: number, compress: boolean): void {
    const name = this.#name
    const expanded = this.#expanded
    expandName(bytes, offset, expanded)
    name.assign(expanded, 0)
    for (let label = 0; label < name.labels; label++) {
      const hash = name.hashOf(label)
      const known = this.#suffixes.get(hash)
      if (known !== undefined) {
        if (compress && this.#sameName(known, name, label)) {
          this.#u16(0xc000 | known)
          return
        }
      } else if (this.#at < POINTER_REACH) {
        this.#suffixes.set(hash, this.#at)
        this.#fresh.push(hash)
      }
      const start = name.startOf(label)
      const stop = name.startOf(label + 1)
      for (let i = start; i < stop; i++) this.#bytes[this.#at++] = expanded[i] ?? 0
    }
    this.#bytes[this.#at++] = 0
  }

  // Whether the suffix of `name` at `label` was written at `offset`.
  #sameName(offset: number, name: Name, label: number): boolean {
    const bytes = this.#bytes
    let at = offset
    for (let i = name.startOf(label); i < name.length;) {
      const length = bytes[at] ?? 0
      if (length >= 0xc0) {
        at = ((length & 0x3f) << 8) | (bytes[at + 1] ?? 0)
        continue
      }
      if (length !== name.bytes[i]) return false
      for (let j = 1; j <= length; j++) {
        if (fold(bytes[at + j] ?? 0) !== name.bytes[i + j]) return false
      }
      i += length + 1
      at += length + 1
    }
    return true
  }

  #count(field: number): void {
    this.#view.setUint16(field, this.#view.getUint16(field) + 1)
  }

  #u16(value: number): void {
    this.#view.setUint16(this.#at, value)
    this.#at += 2
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + bytes))
    grown.set(this.#bytes)
    this.#bytes = grown
    this.#view = new DataView(grown.buffer)
  }
}

/** The offset after the name at `at` of a scanned message. */
export function endOfName(bytes: Uint8Array, at: number): number {
  for (;;) {
    const label = bytes[at] ?? 0
    if (label === 0) return at + 1
    if (label >= 0xc0) return at + 2
    at += label + 1
  }
}
