/**
 * The scanner: reads a message once, front to back, and remembers where its parts are. What it accepts is safe for everything
 * behind it; what it refuses never gets further.
 *
 * It checks counts against the bytes that are there before it walks them (twelve bytes that promise 262,140 records cost nothing),
 * that compression pointers lead backwards (so that loops cannot be), labels ≤ 63, names ≤ 255, the shape of the RDATA of every
 * type in `rdataLayout`, that OPT stands alone, and that nothing follows the last record.
 *
 * A `Message` is reused: scanning another message forgets the last one.
 */

import { HEADER, HEADER_LENGTH, opcodeOf } from './header.ts'
import { MAX_NAME_LENGTH } from './name.ts'
import { rdataLayout } from './rdata-layout.ts'
import { RR_TYPE } from './rr-type.ts'

/** Why a message was refused. */
export type Flaw =
  | 'short'
  | 'counts'
  | 'name-bounds'
  | 'name-length'
  | 'label-type'
  | 'pointer'
  | 'record-bounds'
  | 'rdata'
  | 'opt'
  | 'trailing'

/** Smallest question: root name, type, class. */
const MIN_QUESTION = 5
/** Smallest record: root name, type, class, TTL, RDLENGTH. */
const MIN_RECORD = 11
/** A name of 255 bytes has at most 127 labels; more pointers than that serve no honest purpose. */
const MAX_POINTERS = 127

/** Bytes from a record's type field to its RDATA. */
const FIXED = 10

const NO_BYTES = new Uint8Array(0)

/** A scanned message. */
export class Message {
  /** The message; `length` bytes of it count. */
  bytes: Uint8Array = NO_BYTES
  /** Bytes in the message. */
  length = 0
  /** The same bytes for multi-byte fields. */
  view: DataView = new DataView(NO_BYTES.buffer)
  /** Records in all three sections. */
  records = 0
  /** Where the first question's type field is; its name begins at 12. 0 without a question. */
  questionType = 0
  /** First byte after the question section. */
  questionEnd = HEADER_LENGTH
  /** Index of the OPT record, or -1. */
  opt = -1
  // Two offsets per record: its owner name and its type field.
  #rows = new Uint16Array(64)
  #flaw: Flaw = 'short'

  /**
   * Scans `length` bytes of a message. Returns why it is refused, or `undefined`.
   * The bytes are not copied: they must stay as they are while the scan's result is used.
   */
  scan(bytes: Uint8Array, length: number = bytes.length): Flaw | undefined {
    this.records = 0
    this.opt = -1
    this.questionType = 0
    this.questionEnd = HEADER_LENGTH
    this.bytes = bytes
    this.length = length
    if (length < HEADER_LENGTH || length > 0xffff) return 'short'
    if (
      this.view.buffer !== bytes.buffer ||
      this.view.byteOffset !== bytes.byteOffset ||
      this.view.byteLength !== bytes.byteLength
    ) {
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    }
    const { view } = this
    const questions = view.getUint16(HEADER.questions)
    const records =
      view.getUint16(HEADER.answers) +
      view.getUint16(HEADER.authorities) +
      view.getUint16(HEADER.additionals)
    if (HEADER_LENGTH + questions * MIN_QUESTION + records * MIN_RECORD > length) return 'counts'

    let at = HEADER_LENGTH
    for (let i = 0; i < questions; i++) {
      at = this.#name(at)
      if (at < 0) return this.#flaw
      if (at + 4 > length) return 'record-bounds'
      if (i === 0) this.questionType = at
      at += 4
    }
    this.questionEnd = at

    if (records * 2 > this.#rows.length) this.#rows = new Uint16Array(records * 4)
    const firstAdditional = records - view.getUint16(HEADER.additionals)
    for (let i = 0; i < records; i++) {
      const owner = at
      at = this.#name(at)
      if (at < 0) return this.#flaw
      if (at + FIXED > length) return 'record-bounds'
      const rdata = at + FIXED
      const end = rdata + view.getUint16(at + 8)
      if (end > length) return 'record-bounds'
      const type = view.getUint16(at)
      if (type === RR_TYPE.OPT) {
        // RFC 6891 6.1.1: one at most, among the additional records, owned by the root.
        if (this.opt >= 0 || i < firstAdditional || at !== owner + 1) return 'opt'
        this.opt = i
      }
      if (!this.#rdata(type, rdata, end)) return this.#flaw
      this.#rows[2 * i] = owner
      this.#rows[2 * i + 1] = at
      at = end
    }
    if (at !== length) return 'trailing'
    this.records = records
    return undefined
  }

  /** The id. */
  get id(): number {
    return this.view.getUint16(HEADER.id)
  }
  /** The flags field. */
  get flags(): number {
    return this.view.getUint16(HEADER.flags)
  }
  /** The opcode. */
  get opcode(): number {
    return opcodeOf(this.flags)
  }
  /** Questions. */
  get questions(): number {
    return this.view.getUint16(HEADER.questions)
  }
  /** Records in the answer section. */
  get answers(): number {
    return this.view.getUint16(HEADER.answers)
  }
  /** Records in the authority section. */
  get authorities(): number {
    return this.view.getUint16(HEADER.authorities)
  }
  /** Records in the additional section, OPT among them. */
  get additionals(): number {
    return this.view.getUint16(HEADER.additionals)
  }
  /** Type of the first question. */
  get type(): number {
    return this.view.getUint16(this.questionType)
  }
  /** Class of the first question. */
  get class(): number {
    return this.view.getUint16(this.questionType + 2)
  }
  /** The response code with the upper bits that OPT carries (RFC 6891 6.1.3). */
  get rcode(): number {
    return (this.flags & 0xf) | (this.opt < 0 ? 0 : (this.ttlOf(this.opt) >>> 24) << 4)
  }

  /** Where record `i`'s owner name begins. */
  ownerOf(i: number): number {
    return this.#rows[2 * i] ?? 0
  }
  /** Where record `i`'s type field is: class, TTL, RDLENGTH and RDATA follow at +2, +4, +8 and +10. */
  fixedOf(i: number): number {
    return this.#rows[2 * i + 1] ?? 0
  }
  /** Type of record `i`. */
  typeOf(i: number): number {
    return this.view.getUint16(this.fixedOf(i))
  }
  /** Class of record `i`; for OPT the sender's UDP payload size. */
  classOf(i: number): number {
    return this.view.getUint16(this.fixedOf(i) + 2)
  }
  /** TTL field of record `i`, as it stands. */
  ttlOf(i: number): number {
    return this.view.getUint32(this.fixedOf(i) + 4)
  }
  /** First byte of record `i`'s RDATA. */
  rdataOf(i: number): number {
    return this.fixedOf(i) + FIXED
  }
  /** First byte after record `i`. */
  endOf(i: number): number {
    const fixed = this.fixedOf(i)
    return fixed + FIXED + this.view.getUint16(fixed + 8)
  }
  /** Section of record `i`: 0 answer, 1 authority, 2 additional. */
  sectionOf(i: number): 0 | 1 | 2 {
    const { answers } = this
    return i < answers ? 0 : i < answers + this.authorities ? 1 : 2
  }

  // The offset after the name at `at`, or -1 with #flaw set.
  #name(start: number): number {
    const { bytes, length: end } = this
    let at = start
    let floor = start
    let next = -1
    let total = 1
    let pointers = 0
    for (;;) {
      if (at >= end) return this.#refuse('name-bounds')
      const label = bytes[at] ?? 0
      if (label === 0) return next < 0 ? at + 1 : next
      if (label < 0x40) {
        total += label + 1
        if (total > MAX_NAME_LENGTH) return this.#refuse('name-length')
        at += label + 1
      } else if (label >= 0xc0) {
        if (at + 1 >= end) return this.#refuse('name-bounds')
        const target = ((label & 0x3f) << 8) | (bytes[at + 1] ?? 0)
        if (target >= floor || target < HEADER_LENGTH || ++pointers > MAX_POINTERS) {
          return this.#refuse('pointer')
        }
        if (next < 0) next = at + 2
        at = floor = target
      } else return this.#refuse('label-type')
    }
  }

  #rdata(type: number, start: number, end: number): boolean {
    const layout = rdataLayout(type)
    const { bytes, view } = this
    let at = start
    for (let i = 0; i < layout.length; i++) {
      const field = layout.charCodeAt(i)
      switch (field) {
        case 0x78: // x
          at = end
          break
        case 0x6e: // n
          at = this.#name(at)
          if (at < 0) return false
          break
        case 0x71: // q
          at += 16
          break
        case 0x73: // s
          if (at >= end) return this.#refuseRdata()
          at += 1 + (bytes[at] ?? 0)
          break
        case 0x53: // S
          while (at < end) at += 1 + (bytes[at] ?? 0)
          break
        case 0x62: // b: blocks of window, length 1 … 32, bits (RFC 4034 4.1.2)
          while (at + 2 < end && (bytes[at + 1] ?? 0) >= 1 && (bytes[at + 1] ?? 0) <= 32) {
            at += 2 + (bytes[at + 1] ?? 0)
          }
          break
        case 0x70: // p: key, length, value; keys ascend (RFC 9460 2.2)
          for (let last = -1; at + 4 <= end && view.getUint16(at) > last;) {
            last = view.getUint16(at)
            at += 4 + view.getUint16(at + 2)
          }
          break
        case 0x6f: // o: code, length, value
          while (at + 4 <= end) at += 4 + view.getUint16(at + 2)
          break
        default:
          at += field - 0x30
      }
      if (at > end) return this.#refuseRdata()
    }
    return at === end || this.#refuseRdata()
  }

  #refuseRdata(): false {
    this.#flaw = 'rdata'
    return false
  }

  #refuse(flaw: Flaw): -1 {
    this.#flaw = flaw
    return -1
  }
}

/**
 * Writes the name at `offset` of a scanned message without compression, its case kept, to `into` at `at`. Returns its length.
 */
export function expandName(bytes: Uint8Array, offset: number, into: Uint8Array, at = 0): number {
  let from = offset
  let to = at
  for (;;) {
    const label = bytes[from] ?? 0
    if (label >= 0xc0) {
      from = ((label & 0x3f) << 8) | (bytes[from + 1] ?? 0)
      continue
    }
    into[to++] = label
    if (label === 0) return to - at
    for (let i = 1; i <= label; i++) into[to++] = bytes[from + i] ?? 0
    from += label + 1
  }
}
