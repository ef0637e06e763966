/** ClientHellos for tests. */

const u16 = (value: number): number[] => [value >> 8, value & 255]

const charCodes = (value: string): number[] => [...Buffer.from(value)]

/** A ClientHello by RFC 8446 4.1.2, cut into records of `recordBytes`. */
export function clientHello(options: {
  name?: string
  alpn?: string
  ech?: boolean
  padding?: number
  recordBytes?: number
}): Uint8Array {
  const { name, alpn, ech, padding, recordBytes = 16_000 } = options
  const extension = (type: number, data: number[]): number[] => [
    ...u16(type),
    ...u16(data.length),
    ...data,
  ]
  const extensions = [
    ...(padding === undefined
      ? []
      : extension(
          21,
          Array.from({ length: padding }, () => 0),
        )),
    ...(name === undefined
      ? []
      : extension(0, [...u16(name.length + 3), 0, ...u16(name.length), ...charCodes(name)])),
    ...(alpn === undefined
      ? []
      : extension(16, [...u16(alpn.length + 1), alpn.length, ...charCodes(alpn)])),
    ...(ech ? extension(0xfe_0d, [0]) : []),
  ]
  const body = [
    3,
    3,
    ...Array.from({ length: 32 }, () => 7),
    0,
    0,
    2,
    0x13,
    1,
    1,
    0,
    ...u16(extensions.length),
    ...extensions,
  ]
  const message = [1, body.length >> 16, ...u16(body.length & 0xff_ff), ...body]
  const records: number[] = []
  for (let at = 0; at < message.length; at += recordBytes) {
    const part = message.slice(at, at + recordBytes)
    for (const byte of [22, 3, 1, ...u16(part.length)]) records.push(byte)
    for (const byte of part) records.push(byte)
  }
  return Uint8Array.from(records)
}
