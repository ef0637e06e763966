/**
 * DHCP messages (RFC 2131), with long options in parts (RFC 3396) and options in the `sname` and `file` fields (option 52).
 *
 * ```
 *   │ fixed part, 236 bytes … sname (64) … file (128) │ cookie │ options … end │
 *                             └──── option 52 puts options here, too ────┘
 * ```
 */

import type { Block } from '@netkit/core'
import { DEFAULT_DHCP_MESSAGE_BYTES, MAX_DHCP_OPTION_BYTES } from '../limits.ts'
import {
  decodeOptions,
  DHCP_MESSAGE_TYPE,
  DHCP_OPTION,
  DHCP_OPTION_CODE,
  type Dhcpv4Options,
  encodeOptions,
} from './dhcpv4-options.ts'
import type { DropReason } from './drop-reason.ts'
import { EMPTY } from './empty.ts'
import { readMac, writeMac } from './mac.ts'

const FIELD = {
  op: 0,
  hardwareType: 1,
  hardwareLength: 2,
  hops: 3,
  transactionId: 4,
  seconds: 8,
  flags: 10,
  clientAddress: 12,
  yourAddress: 16,
  nextServer: 20,
  relay: 24,
  clientMac: 28,
  serverName: 44,
  bootFile: 108,
  cookie: 236,
  options: 240,
} as const

const SERVER_NAME_LENGTH = 64
const BOOT_FILE_LENGTH = 128
const COOKIE = 0x6382_5363
const BROADCAST = 0x8000
const ETHERNET = { type: 1, length: 6 } as const
/** BOOTP clients and relays may drop shorter messages (RFC 1542 2.1), `bytes`. */
const MIN_MESSAGE_BYTES = 300
const OVERLOAD_OPTION_LENGTH = 3
/** Bits of option 52. */
const OVERLOAD = { file: 1, serverName: 2 } as const

/** Ports (RFC 2131 4.1). */
export const DHCPV4_PORT = { server: 67, client: 68 } as const
/** Fixed part and cookie, `bytes`. */
export const DHCPV4_HEADER_LENGTH: number = FIELD.options

/** A DHCP message. */
export interface Dhcpv4Fields {
  /** One of `DHCP_MESSAGE_TYPE`. Who sends it (op) follows from it. */
  messageType: number
  /** u32. */
  transactionId: number
  /** Since the client began, `s`; default 0. */
  seconds?: number
  /** Whether the client cannot take unicast yet; default false. */
  broadcast?: boolean
  /** `ciaddr`, u32: the client's address if it can answer ARP for it; default 0. */
  clientAddress?: number
  /** `yiaddr`, u32: the address that the client is given; default 0. */
  yourAddress?: number
  /** `siaddr`, u32: where the boot file is; default 0. */
  nextServer?: number
  /** `giaddr`, u32; default 0. */
  relay?: number
  /** 48-bit integer. */
  clientMac: number
  /** `sname`, at most 63 ASCII characters; default none. */
  serverName?: string
  /** `file`, at most 127 ASCII characters; default none. */
  bootFile?: string
  options: Dhcpv4Options
}

/** A message under a movable finger. Options are read by `parseDhcpv4`. */
export class Dhcpv4View {
  block: Block = EMPTY
  offset = 0
  length = 0
  #view: DataView = EMPTY.view

  /** Points at the message of exactly `length` bytes at `offset`. */
  at(block: Block, offset: number, length: number): this {
    this.block = block
    this.offset = offset
    this.length = length
    this.#view = block.view
    return this
  }

  /** Why the message is unusable. */
  check(): DropReason | undefined {
    if (this.length < DHCPV4_HEADER_LENGTH) return 'dhcp-truncated'
    const view = this.#view
    const { offset } = this
    const supported =
      view.getUint8(offset + FIELD.hardwareType) === ETHERNET.type &&
      view.getUint8(offset + FIELD.hardwareLength) === ETHERNET.length &&
      view.getUint32(offset + FIELD.cookie) === COOKIE
    if (!supported) return 'dhcp-unsupported'
    const raw = collectOptions(this)
    if (raw === undefined) return 'dhcp-bad-option'
    const messageType = messageTypeOf(raw)
    if (messageType === undefined) return 'dhcp-unsupported'
    return view.getUint8(offset + FIELD.op) === opOf(messageType) ? undefined : 'dhcp-unsupported'
  }

  /** u32. */
  get transactionId(): number {
    return this.#view.getUint32(this.offset + FIELD.transactionId)
  }
  get seconds(): number {
    return this.#view.getUint16(this.offset + FIELD.seconds)
  }
  get broadcast(): boolean {
    return (this.#view.getUint16(this.offset + FIELD.flags) & BROADCAST) !== 0
  }
  /** `ciaddr`, u32. */
  get clientAddress(): number {
    return this.#view.getUint32(this.offset + FIELD.clientAddress)
  }
  /** `yiaddr`, u32. */
  get yourAddress(): number {
    return this.#view.getUint32(this.offset + FIELD.yourAddress)
  }
  /** `siaddr`, u32. */
  get nextServer(): number {
    return this.#view.getUint32(this.offset + FIELD.nextServer)
  }
  /** `giaddr`, u32. */
  get relay(): number {
    return this.#view.getUint32(this.offset + FIELD.relay)
  }
  /** 48-bit integer. */
  get clientMac(): number {
    return readMac(this.#view, this.offset + FIELD.clientMac)
  }
}

/** 1 is a client's message, 2 a server's. */
function opOf(messageType: number): 1 | 2 {
  return messageType === DHCP_MESSAGE_TYPE.offer ||
    messageType === DHCP_MESSAGE_TYPE.ack ||
    messageType === DHCP_MESSAGE_TYPE.nak
    ? 2
    : 1
}

function messageTypeOf(raw: ReadonlyMap<number, Uint8Array>): number | undefined {
  const bytes = raw.get(DHCP_OPTION.messageType)
  const type = bytes?.length === 1 ? bytes[0] : undefined
  const { discover, inform } = DHCP_MESSAGE_TYPE
  return type !== undefined && type >= discover && type <= inform ? type : undefined
}

/** The message's values; `undefined` if `check()` finds fault. */
export function parseDhcpv4(view: Dhcpv4View): Required<Dhcpv4Fields> | undefined {
  if (view.check() !== undefined) return undefined
  const raw = collectOptions(view)
  const messageType = raw && messageTypeOf(raw)
  if (raw === undefined || messageType === undefined) return undefined
  const overloaded = raw.get(DHCP_OPTION.overload)?.[0] ?? 0
  const { offset, transactionId, seconds, broadcast, clientAddress, yourAddress } = view
  const { nextServer, relay, clientMac } = view
  const fixedText = (bit: number, start: number, length: number): string =>
    (overloaded & bit) === 0 ? zeroTerminated(view.block.bytes, offset + start, length) : ''
  return {
    messageType,
    transactionId,
    seconds,
    broadcast,
    clientAddress,
    yourAddress,
    nextServer,
    relay,
    clientMac,
    serverName: fixedText(OVERLOAD.serverName, FIELD.serverName, SERVER_NAME_LENGTH),
    bootFile: fixedText(OVERLOAD.file, FIELD.bootFile, BOOT_FILE_LENGTH),
    options: decodeOptions(raw),
  }
}

function zeroTerminated(bytes: Uint8Array, start: number, length: number): string {
  const field = bytes.subarray(start, start + length)
  const end = field.indexOf(0)
  return String.fromCharCode(...(end === -1 ? field : field.subarray(0, end)))
}

/**
 * The bytes of all options by code, their parts joined in the order of RFC 3396 5: options field, `file`, `sname`.
 *
 * @returns `undefined` if an option runs beyond its field, or there are too many bytes of them.
 */
function collectOptions(view: Dhcpv4View): Map<number, Uint8Array> | undefined {
  const raw = new Map<number, Uint8Array>()
  const { bytes } = view.block
  const { offset } = view
  const room = view.length - FIELD.options
  if (room > MAX_DHCP_OPTION_BYTES) return undefined
  if (!collect(bytes.subarray(offset + FIELD.options, offset + view.length), raw)) return undefined
  const overloaded = raw.get(DHCP_OPTION.overload)?.[0] ?? 0
  for (const [bit, start, length] of [
    [OVERLOAD.file, FIELD.bootFile, BOOT_FILE_LENGTH],
    [OVERLOAD.serverName, FIELD.serverName, SERVER_NAME_LENGTH],
  ] as const) {
    if ((overloaded & bit) === 0) continue
    if (!collect(bytes.subarray(offset + start, offset + start + length), raw)) return undefined
  }
  return raw
}

/** Adds the options of one field to `raw`. @returns Whether they end inside it. */
function collect(field: Uint8Array, raw: Map<number, Uint8Array>): boolean {
  let at = 0
  while (at < field.length) {
    const code = field[at]
    if (code === DHCP_OPTION.end) return true
    if (code === DHCP_OPTION.pad || code === undefined) {
      at++
      continue
    }
    const length = field[at + 1]
    const end = at + 2 + (length ?? 0)
    if (length === undefined || end > field.length) return false
    const part = new Uint8Array(field.subarray(at + 2, end))
    const before = raw.get(code)
    raw.set(code, before === undefined ? part : joined(before, part))
    at = end
  }
  return true
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}

/** A field that takes options, as far as it has room for them and the end mark. */
interface OptionField {
  start: number
  room: number
  readonly bit: number
  at: number
}

/** What `encodeDhcpv4` wrote. */
export interface EncodedDhcpv4 {
  /** `bytes`. */
  length: number
  /** Codes of the options that found no room. */
  omitted: number[]
}

/**
 * Writes a message. Options that do not fit the options field go into `file` and `sname` where those are free; what fits
 * nowhere is left out and named.
 *
 * @param options.maxLength - Longest message that the receiver takes (its option 57, less 28 of IP and UDP), `bytes`.
 */
export function encodeDhcpv4(
  fields: Dhcpv4Fields,
  block: Block,
  offset: number,
  options: { maxLength?: number } = {},
): EncodedDhcpv4 {
  const maxLength = options.maxLength ?? DEFAULT_DHCP_MESSAGE_BYTES
  const { bytes, view } = block
  const room = Math.min(maxLength, bytes.length - offset)
  bytes.fill(0, offset, offset + room)
  view.setUint8(offset + FIELD.op, opOf(fields.messageType))
  view.setUint8(offset + FIELD.hardwareType, ETHERNET.type)
  view.setUint8(offset + FIELD.hardwareLength, ETHERNET.length)
  view.setUint32(offset + FIELD.transactionId, fields.transactionId)
  view.setUint16(offset + FIELD.seconds, fields.seconds ?? 0)
  view.setUint16(offset + FIELD.flags, fields.broadcast === true ? BROADCAST : 0)
  view.setUint32(offset + FIELD.clientAddress, fields.clientAddress ?? 0)
  view.setUint32(offset + FIELD.yourAddress, fields.yourAddress ?? 0)
  view.setUint32(offset + FIELD.nextServer, fields.nextServer ?? 0)
  view.setUint32(offset + FIELD.relay, fields.relay ?? 0)
  writeMac(view, offset + FIELD.clientMac, fields.clientMac)
  view.setUint32(offset + FIELD.cookie, COOKIE)
  const { serverName = '', bootFile = '' } = fields
  bytes.set(ascii(serverName, SERVER_NAME_LENGTH - 1), offset + FIELD.serverName)
  bytes.set(ascii(bootFile, BOOT_FILE_LENGTH - 1), offset + FIELD.bootFile)

  bytes.set([DHCP_OPTION.messageType, 1, fields.messageType], offset + FIELD.options)
  const main: OptionField = {
    start: FIELD.options,
    room: room - FIELD.options - OVERLOAD_OPTION_LENGTH,
    bit: 0,
    at: 3,
  }
  const spare: OptionField[] = []
  if (bootFile === '') {
    spare.push({ start: FIELD.bootFile, room: BOOT_FILE_LENGTH, bit: OVERLOAD.file, at: 0 })
  }
  if (serverName === '') {
    spare.push({
      start: FIELD.serverName,
      room: SERVER_NAME_LENGTH,
      bit: OVERLOAD.serverName,
      at: 0,
    })
  }
  const places = [main, ...spare]
  const omitted: number[] = []
  for (const [code, value] of encodeOptions(fields.options)) {
    if (!place(code, value, places, bytes, offset)) omitted.push(code)
  }

  const overload = spare.reduce((bits, field) => (field.at > 0 ? bits | field.bit : bits), 0)
  if (overload > 0) {
    bytes.set([DHCP_OPTION.overload, 1, overload], offset + main.start + main.at)
    main.at += OVERLOAD_OPTION_LENGTH
  }
  for (const field of places) {
    if (field.at > 0) bytes[offset + field.start + field.at] = DHCP_OPTION.end
  }
  return {
    length: Math.max(FIELD.options + main.at + 1, Math.min(MIN_MESSAGE_BYTES, room)),
    omitted,
  }
}

/** Options whose receivers join parts by definition (RFC 3397 2, RFC 3442), besides all that are too long for one part. */
const SPLITTABLE: ReadonlySet<number> = new Set([
  DHCP_OPTION_CODE.domainSearch,
  DHCP_OPTION_CODE.classlessRoutes,
])
const MAX_PART_BYTES = 255

/**
 * Places an option whole, or if it may be split, in parts that fill what room there is, in the order in which they are read.
 *
 * @returns Whether it had room.
 */
function place(
  code: number,
  value: Uint8Array,
  places: readonly OptionField[],
  bytes: Uint8Array,
  offset: number,
): boolean {
  const parts: { field: OptionField; part: Uint8Array }[] = []
  const split = value.length > MAX_PART_BYTES || SPLITTABLE.has(code)
  let done = 0
  for (const field of places) {
    let at = field.at
    // Code and length go before a part, and one byte stays for the end mark. An option without a value has one part.
    while (done < value.length || parts.length === 0) {
      const room = Math.min(field.room - at - 3, MAX_PART_BYTES)
      if (room < (split ? 1 : value.length)) break
      const part = value.subarray(done, done + room)
      parts.push({ field, part })
      done += part.length
      at += 2 + part.length
    }
  }
  if (done < value.length || parts.length === 0) return false
  for (const { field, part } of parts) {
    bytes.set([code, part.length], offset + field.start + field.at)
    bytes.set(part, offset + field.start + field.at + 2)
    field.at += 2 + part.length
  }
  return true
}

function ascii(text: string, maxLength: number): Uint8Array {
  return Uint8Array.from(text.slice(0, maxLength), (char) => char.charCodeAt(0) & 0x7f)
}
