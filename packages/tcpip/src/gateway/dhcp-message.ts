/** DHCP messages (RFC 2131 2, options RFC 2132) as a server reads and writes them. */

import type { Block } from '@netkit/core'
import { readMac, writeMac } from '@netkit/frames'
import type { DropReason } from '@netkit/frames'

const FIELD = {
  operation: 0,
  hardwareType: 1,
  hardwareLength: 2,
  transaction: 4,
  flags: 10,
  clientIp: 12,
  yourIp: 16,
  serverIp: 20,
  relayIp: 24,
  clientMac: 28,
  serverName: 44,
  file: 108,
  cookie: 236,
  options: 240,
} as const

const COOKIE = 0x6382_5363
const BROADCAST_FLAG = 0x8000
/** Shortest message that every client takes: BOOTP's 300 bytes (RFC 1542 2.1). */
const MIN_LENGTH = 300
/** One option instance carries at most this; longer ones are split (RFC 3396). */
const OPTION_MAX = 255

/** Message types (option 53). */
export const DHCP_TYPE = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const

/** Option codes. */
export const DHCP_OPTION = {
  subnetMask: 1,
  router: 3,
  dnsServers: 6,
  hostName: 12,
  domainName: 15,
  mtu: 26,
  broadcastAddress: 28,
  ntpServers: 42,
  requestedAddress: 50,
  leaseTime: 51,
  overload: 52,
  messageType: 53,
  serverIdentifier: 54,
  renewalTime: 58,
  rebindingTime: 59,
  searchDomains: 119,
} as const

/** What a client says. Addresses are `u32`. */
export interface DhcpRequest {
  /** 1 from a client, 2 from a server. */
  readonly operation: number
  readonly transaction: number
  readonly broadcast: boolean
  readonly clientIp: number
  readonly relayIp: number
  readonly clientMac: number
  readonly type: number
  readonly requestedAddress: number | undefined
  readonly serverIdentifier: number | undefined
  readonly hostName: string | undefined
}

/** Reads a message of `length` bytes, or says why it is none. */
export function readDhcp(block: Block, offset: number, length: number): DhcpRequest | DropReason {
  if (length < FIELD.options) return 'dhcp-truncated'
  const { view, bytes } = block
  if (
    view.getUint32(offset + FIELD.cookie) !== COOKIE ||
    view.getUint8(offset + FIELD.hardwareType) !== 1 ||
    view.getUint8(offset + FIELD.hardwareLength) !== 6
  )
    return 'dhcp-unsupported'
  const options = new Map<number, Uint8Array>()
  const walk = (from: number, end: number): boolean => {
    for (let at = from; at < end;) {
      const code = bytes[at++]
      if (code === 0) continue
      if (code === undefined || code === 255) return true
      const size = bytes[at++]
      if (size === undefined || at + size > end) return false
      options.set(code, bytes.subarray(at, at + size))
      at += size
    }
    return true
  }
  if (!walk(offset + FIELD.options, offset + length)) return 'dhcp-bad-option'
  // Options may go on in the file and server name fields (RFC 2131 4.1).
  const overload = options.get(DHCP_OPTION.overload)?.[0] ?? 0
  if ((overload & 1) !== 0 && !walk(offset + FIELD.file, offset + FIELD.cookie))
    return 'dhcp-bad-option'
  if ((overload & 2) !== 0 && !walk(offset + FIELD.serverName, offset + FIELD.file))
    return 'dhcp-bad-option'
  const type = options.get(DHCP_OPTION.messageType)
  if (type?.length !== 1) return 'dhcp-bad-option'
  const address = (code: number): number | undefined => {
    const value = options.get(code)
    return value?.length === 4
      ? new DataView(value.buffer, value.byteOffset).getUint32(0)
      : undefined
  }
  const name = options.get(DHCP_OPTION.hostName)
  return {
    operation: view.getUint8(offset + FIELD.operation),
    transaction: view.getUint32(offset + FIELD.transaction),
    broadcast: (view.getUint16(offset + FIELD.flags) & BROADCAST_FLAG) !== 0,
    clientIp: view.getUint32(offset + FIELD.clientIp),
    relayIp: view.getUint32(offset + FIELD.relayIp),
    clientMac: readMac(view, offset + FIELD.clientMac),
    type: type[0] ?? 0,
    requestedAddress: address(DHCP_OPTION.requestedAddress),
    serverIdentifier: address(DHCP_OPTION.serverIdentifier),
    hostName: name && printableName(name),
  }
}

/** A host name as it may be shown: what is no letter, digit, dot or hyphen of a name is not a name. */
function printableName(bytes: Uint8Array): string | undefined {
  const text = new TextDecoder('latin1').decode(bytes).replace(/\0+$/, '')
  return /^[A-Za-z0-9._-]{1,63}$/.test(text) ? text : undefined
}

/** What a server answers. */
export interface DhcpReply {
  readonly transaction: number
  readonly broadcast: boolean
  readonly clientIp: number
  readonly yourIp: number
  readonly clientMac: number
  /** In the order in which they are written. */
  readonly options: readonly (readonly [code: number, value: Uint8Array])[]
}

/** Writes a reply. @returns Its length, `bytes`. */
export function writeDhcp(reply: DhcpReply, block: Block, offset: number): number {
  const { view, bytes } = block
  bytes.fill(0, offset, offset + FIELD.options)
  view.setUint8(offset + FIELD.operation, 2)
  view.setUint8(offset + FIELD.hardwareType, 1)
  view.setUint8(offset + FIELD.hardwareLength, 6)
  view.setUint32(offset + FIELD.transaction, reply.transaction)
  view.setUint16(offset + FIELD.flags, reply.broadcast ? BROADCAST_FLAG : 0)
  view.setUint32(offset + FIELD.clientIp, reply.clientIp)
  view.setUint32(offset + FIELD.yourIp, reply.yourIp)
  writeMac(view, offset + FIELD.clientMac, reply.clientMac)
  view.setUint32(offset + FIELD.cookie, COOKIE)
  let at = offset + FIELD.options
  for (const [code, value] of reply.options) {
    for (let from = 0; from < value.length; from += OPTION_MAX) {
      const part = value.subarray(from, from + OPTION_MAX)
      bytes[at] = code
      bytes[at + 1] = part.length
      bytes.set(part, at + 2)
      at += 2 + part.length
    }
  }
  bytes[at++] = 255
  const end = Math.max(at, offset + MIN_LENGTH)
  bytes.fill(0, at, end)
  return end - offset
}

/** Addresses or numbers as an option's value, four bytes each. */
export function words(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4)
  const view = new DataView(bytes.buffer)
  for (const [i, value] of values.entries()) view.setUint32(i * 4, value)
  return bytes
}

/** A search list (option 119, RFC 3397) with names compressed as in DNS. */
export function searchList(domains: readonly string[]): Uint8Array {
  const out: number[] = []
  const seen = new Map<string, number>()
  for (const domain of domains) {
    let rest = domain.replace(/\.$/, '').toLowerCase()
    while (rest !== '') {
      const known = seen.get(rest)
      if (known !== undefined) {
        out.push(0xc0 | (known >>> 8), known & 0xff)
        break
      }
      if (out.length < 0x4000) seen.set(rest, out.length)
      const [label = ''] = rest.split('.')
      out.push(label.length, ...new TextEncoder().encode(label))
      rest = rest.slice(label.length + 1)
    }
    if (rest === '') out.push(0)
  }
  return Uint8Array.from(out)
}
