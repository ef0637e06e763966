/** The client's half of DHCP (RFC 2131), as messages. */

import type { Lease } from '../guest-tools.ts'
import { ipBytes, ipText } from './wire.ts'

export const DHCP = { clientPort: 68, serverPort: 67 } as const
export const MESSAGE = { discover: 1, offer: 2, request: 3, ack: 5, nak: 6 } as const

const COOKIE = 0x63825363
const HEAD = 240

/** A message of the server's. */
export interface DhcpReply {
  readonly xid: number
  /** Option 53. */
  readonly type: number
  /** `yiaddr` */
  readonly ip: string
  readonly options: ReadonlyMap<number, Buffer>
}

/** A message of the client's; `options` follow the message type. */
export function dhcpMessage(
  type: number,
  xid: number,
  mac: Buffer,
  options: readonly (readonly [number, Buffer])[],
): Buffer {
  const head = Buffer.alloc(HEAD)
  head.writeUInt8(1, 0) // BOOTREQUEST
  head.writeUInt8(1, 1) // Ethernet
  head.writeUInt8(6, 2)
  head.writeUInt32BE(xid, 4)
  mac.copy(head, 28)
  head.writeUInt32BE(COOKIE, 236)
  const parts: Buffer[] = [head, Buffer.from([53, 1, type])]
  for (const [code, value] of options) parts.push(Buffer.from([code, value.length]), value)
  parts.push(Buffer.from([255]))
  return Buffer.concat(parts)
}

/** The options a client asks for: mask, router, DNS, domain, MTU, lease time, server, search list. */
export const ASKED_OPTIONS: Buffer = Buffer.from([1, 3, 6, 15, 26, 51, 54, 119])

export function readDhcp(bytes: Buffer): DhcpReply | undefined {
  if (bytes.length < HEAD || bytes.readUInt8(0) !== 2 || bytes.readUInt32BE(236) !== COOKIE)
    return undefined
  const options = new Map<number, Buffer>()
  for (let at = HEAD; at < bytes.length;) {
    const code = bytes.readUInt8(at)
    if (code === 255) break
    if (code === 0) {
      at += 1
      continue
    }
    const length = at + 1 < bytes.length ? bytes.readUInt8(at + 1) : 0
    options.set(code, bytes.subarray(at + 2, at + 2 + length))
    at += 2 + length
  }
  const type = options.get(53)?.at(0) ?? 0
  return { xid: bytes.readUInt32BE(4), type, ip: ipText(bytes.subarray(16, 20)), options }
}

function addresses(value: Buffer = Buffer.alloc(0)): string[] {
  const list = []
  for (let at = 0; at + 4 <= value.length; at += 4) list.push(ipText(value.subarray(at, at + 4)))
  return list
}

/** Names of RFC 1035 in a search list (RFC 3397), compression pointers and all. */
function searchList(value: Buffer | undefined): string[] {
  const names: string[] = []
  if (!value) return names
  const labelsAt = (start: number, depth: number): [labels: string[], end: number] => {
    const labels: string[] = []
    let at = start
    for (;;) {
      const length = value.at(at) ?? 0
      if (length === 0) return [labels, at + 1]
      if (length >= 0xc0) {
        const target = ((length & 0x3f) << 8) | (value.at(at + 1) ?? 0)
        return [depth > 8 ? labels : [...labels, ...labelsAt(target, depth + 1)[0]], at + 2]
      }
      labels.push(value.toString('latin1', at + 1, at + 1 + length))
      at += 1 + length
    }
  }
  for (let at = 0; at < value.length;) {
    const [labels, end] = labelsAt(at, 0)
    if (labels.length > 0) names.push(labels.join('.'))
    at = end
  }
  return names
}

/** What the ACK granted. */
export function leaseOf(reply: DhcpReply): Lease {
  const { options } = reply
  const mask = options.get(1)?.readUInt32BE(0) ?? 0
  const mtu = options.get(26)?.readUInt16BE(0)
  const domain = options.get(15)?.toString('latin1')
  return {
    ip: reply.ip,
    prefix: 32 - Math.round(Math.log2(2 ** 32 - mask)),
    router: addresses(options.get(3))[0] ?? '',
    dns: addresses(options.get(6)),
    serverId: addresses(options.get(54))[0] ?? '',
    seconds: options.get(51)?.readUInt32BE(0) ?? 0,
    ...(mtu === undefined ? {} : { mtu }),
    search: [...new Set([...searchList(options.get(119)), ...(domain ? [domain] : [])])],
  }
}

/** Option 50 and 54 of a REQUEST. */
export const requestOptions = (offer: DhcpReply): (readonly [number, Buffer])[] => [
  [50, ipBytes(offer.ip)],
  [54, offer.options.get(54) ?? Buffer.alloc(4)],
  [55, ASKED_OPTIONS],
]
