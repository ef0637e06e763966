/**
 * DHCPv6 messages as far as they are about configuration alone (RFC 8415 7.3, 8, 21; RFC 3646): no addresses, no relays.
 *
 * ```
 *   │ type (1) │ transaction id (3) │ option: code (2) │ length (2) │ value … │ option …
 * ```
 */

import type { Block } from '@netkit/core'
import { decodeDomainNames, encodeDomainNames } from './domain-names.ts'
import type { DropReason } from './drop-reason.ts'
import { MAX_DHCPV6_OPTIONS } from '../limits.ts'

/** Type and transaction id, `bytes`. */
export const DHCPV6_HEADER_LENGTH = 4
/** Ports (RFC 8415 7.2). */
export const DHCPV6_PORT = { client: 546, server: 547 } as const

/** Message types (RFC 8415 7.3). */
export const DHCPV6_MESSAGE_TYPE = {
  solicit: 1,
  advertise: 2,
  request: 3,
  reply: 7,
  release: 8,
  decline: 9,
  reconfigure: 10,
  informationRequest: 11,
} as const

/** Option codes (RFC 8415 21, RFC 3646, RFC 4075). */
export const DHCPV6_OPTION_CODE = {
  clientIdentifier: 1,
  serverIdentifier: 2,
  nonTemporaryAddress: 3,
  temporaryAddress: 4,
  optionRequest: 6,
  dnsServers: 23,
  domainSearch: 24,
  prefixDelegation: 25,
  ntpServers: 31,
  informationRefreshTime: 32,
} as const

const CODE = DHCPV6_OPTION_CODE
/** Its type and 128 bytes (RFC 8415 11.1). */
const MAX_DUID_BYTES = 130

/** A message's values. Addresses are 16 bytes each. */
export interface Dhcpv6Fields {
  messageType: number
  /** 24 bits. */
  transactionId: number
  options: {
    /** 1: the client's DUID. */
    clientIdentifier?: Uint8Array
    /** 2: the server's DUID. */
    serverIdentifier?: Uint8Array
    /** 3, 4, 25: the client asks for addresses or prefixes. */
    wantsAddresses?: boolean
    /** 6: codes of the options that the client asks for. */
    optionRequest?: number[]
    /** 23 */
    dnsServers?: Uint8Array[]
    /** 24 */
    domainSearch?: string[]
    /** 31 */
    ntpServers?: Uint8Array[]
    /** 32, `s` */
    informationRefreshTime?: number
  }
}

/** The message's values, or why it is unusable. Options of unknown kind, or whose length does not fit their kind, are left out. */
export function parseDhcpv6(
  block: Block,
  offset: number,
  length: number,
): Dhcpv6Fields | DropReason {
  if (length < DHCPV6_HEADER_LENGTH) return 'dhcp-truncated'
  const { bytes, view } = block
  const end = offset + length
  const options: Dhcpv6Fields['options'] = {}
  let count = 0
  for (let at = offset + DHCPV6_HEADER_LENGTH; at < end;) {
    if (at + 4 > end || ++count > MAX_DHCPV6_OPTIONS) return 'dhcp-bad-option'
    const code = view.getUint16(at)
    const size = view.getUint16(at + 2)
    const start = at + 4
    at = start + size
    if (at > end) return 'dhcp-bad-option'
    const isDuid = code === CODE.clientIdentifier || code === CODE.serverIdentifier
    if (isDuid && size > MAX_DUID_BYTES) return 'dhcp-bad-option'
    decodeOption(options, code, new Uint8Array(bytes.subarray(start, at)))
  }
  const head = view.getUint32(offset)
  return { messageType: head >>> 24, transactionId: head & 0xff_ffff, options }
}

function decodeOption(options: Dhcpv6Fields['options'], code: number, value: Uint8Array): void {
  const view = new DataView(value.buffer)
  switch (code) {
    case CODE.clientIdentifier:
      if (value.length > 0) options.clientIdentifier = value
      break
    case CODE.serverIdentifier:
      if (value.length > 0) options.serverIdentifier = value
      break
    case CODE.nonTemporaryAddress:
    case CODE.temporaryAddress:
    case CODE.prefixDelegation:
      options.wantsAddresses = true
      break
    case CODE.optionRequest:
      if (value.length % 2 === 0)
        options.optionRequest = Array.from({ length: value.length / 2 }, (_, i) =>
          view.getUint16(2 * i),
        )
      break
    case CODE.dnsServers:
    case CODE.ntpServers: {
      if (value.length % 16 !== 0 || value.length === 0) break
      const addresses = Array.from({ length: value.length / 16 }, (_, i) =>
        value.subarray(16 * i, 16 * i + 16),
      )
      if (code === CODE.dnsServers) options.dnsServers = addresses
      else options.ntpServers = addresses
      break
    }
    case CODE.domainSearch: {
      const names = decodeDomainNames(value)
      if (names && names.length > 0) options.domainSearch = names
      break
    }
    case CODE.informationRefreshTime:
      if (value.length === 4) options.informationRefreshTime = view.getUint32(0)
      break
    default:
  }
}

/**
 * Writes a message; empty lists are left out, and `wantsAddresses` is.
 *
 * @returns Its length, `bytes`.
 */
export function encodeDhcpv6(fields: Dhcpv6Fields, block: Block, offset: number): number {
  const { bytes, view } = block
  const { options } = fields
  let at = offset + DHCPV6_HEADER_LENGTH
  const put = (code: number, value: Uint8Array | undefined): void => {
    if (value === undefined || value.length === 0) return
    view.setUint16(at, code)
    view.setUint16(at + 2, value.length)
    bytes.set(value, at + 4)
    at += 4 + value.length
  }
  view.setUint32(offset, (fields.messageType << 24) | fields.transactionId)
  put(CODE.clientIdentifier, options.clientIdentifier)
  put(CODE.serverIdentifier, options.serverIdentifier)
  put(CODE.optionRequest, options.optionRequest && integers(options.optionRequest, 2))
  put(CODE.dnsServers, options.dnsServers && joined(options.dnsServers))
  // RFC 8415 10: no compression.
  put(
    CODE.domainSearch,
    options.domainSearch && encodeDomainNames(options.domainSearch, { compress: false }),
  )
  put(CODE.ntpServers, options.ntpServers && joined(options.ntpServers))
  const refresh = options.informationRefreshTime
  put(CODE.informationRefreshTime, refresh === undefined ? undefined : integers([refresh], 4))
  return at - offset
}

function integers(values: readonly number[], size: 2 | 4): Uint8Array {
  const view = new DataView(new ArrayBuffer(size * values.length))
  for (const [i, value] of values.entries()) {
    if (size === 2) view.setUint16(2 * i, value)
    else view.setUint32(4 * i, value)
  }
  return new Uint8Array(view.buffer)
}

function joined(addresses: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(16 * addresses.length)
  for (const [i, address] of addresses.entries()) bytes.set(address, 16 * i)
  return bytes
}
