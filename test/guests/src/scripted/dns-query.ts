/** One DNS question for A records (RFC 1035 4.1), and the addresses of its answer. */

import { ipText } from './wire.ts'

export function dnsQuestion(id: number, name: string): Buffer {
  const head = Buffer.from([id >> 8, id & 0xff, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0])
  const labels = name
    .split('.')
    .filter(Boolean)
    .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]))
  return Buffer.concat([head, ...labels, Buffer.from([0, 0, 1, 0, 1])])
}

/** The end of the name at `at`. */
function afterName(bytes: Buffer, at: number): number {
  for (let end = at; ;) {
    const length = bytes.readUInt8(end)
    if (length === 0) return end + 1
    if (length >= 0xc0) return end + 2
    end += 1 + length
  }
}

/** The A records of an answer to question `id`; `undefined` when the bytes are no such answer. */
export function dnsAddresses(bytes: Buffer, id: number): string[] | undefined {
  if (bytes.length < 12 || bytes.readUInt16BE(0) !== id || (bytes.readUInt8(2) & 0x80) === 0)
    return undefined
  let at = 12
  for (let i = bytes.readUInt16BE(4); i > 0; i--) at = afterName(bytes, at) + 4
  const addresses = []
  for (let i = bytes.readUInt16BE(6); i > 0; i--) {
    at = afterName(bytes, at)
    const type = bytes.readUInt16BE(at)
    const length = bytes.readUInt16BE(at + 8)
    if (type === 1 && length === 4) addresses.push(ipText(bytes.subarray(at + 10, at + 14)))
    at += 10 + length
  }
  return addresses
}
