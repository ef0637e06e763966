import { formatIpv4, formatIpv6 } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  encodeMuxEnd,
  encodeMuxHandshake,
  encodeMuxOpen,
  encodeMuxWindow,
  muxDatagramHeaderBytes,
  MuxFrameView,
  readMuxDatagram,
  writeMuxData,
  writeMuxDatagram,
} from './mux-frame.ts'
import type { MuxDestination } from './mux-frame.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const dataView = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

function read(bytes: Uint8Array): { size: number; frame: MuxFrameView } {
  const frame = new MuxFrameView()
  return { size: frame.read(bytes, dataView(bytes), 0, bytes.length), frame }
}

const id = fc.nat({ max: 0xffff_ffff })
const port = fc.nat({ max: 65_535 })
const ip = fc.oneof(
  fc.nat({ max: 0xffff_ffff }).map((value) => formatIpv4(value)),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => formatIpv6(bytes)),
)
const destination: fc.Arbitrary<MuxDestination> = fc.oneof(
  fc.record({ protocol: fc.constantFrom('tcp', 'udp'), to: fc.record({ ip, port }) }),
  fc.record({
    protocol: fc.constant('unix' as const),
    to: fc.record({ path: fc.string({ minLength: 1, maxLength: 100 }).map((path) => `/${path}`) }),
  }),
)

describe('frames', () => {
  // The cases of moby/vpnkit go/pkg/libproxy/frame_test.go, spelled out from frame.go.
  test('the cases of vpnkit’s own tests', () => {
    const udp = encodeMuxOpen(5, { protocol: 'udp', to: { ip: '::1', port: 8080 } })
    expect(hex(udp)).toBe(`1d00010500000002021000${'00'.repeat(15)}01901f`)
    const unix = encodeMuxOpen(5, { protocol: 'unix', to: { path: '/tmp/foo' } })
    expect(hex(unix)).toBe('13000105000000020308002f746d702f666f6f')
    expect(hex(encodeMuxEnd(6, 'close'))).toBe('07000206000000')
    expect(hex(encodeMuxEnd(7, 'shutdown'))).toBe('07000307000000')
    const data = new Uint8Array(11)
    writeMuxData(dataView(data), 0, 8, 128)
    expect(hex(data)).toBe('0b00040800000080000000')
    expect(hex(encodeMuxWindow(9, 8_888_888))).toBe('0f00050900000038a2870000000000')
    expect(new TextDecoder().decode(encodeMuxHandshake())).toBe(
      'https://github.com/moby/vpnkit multiplexer protocol\n\0\0',
    )
  })

  test('an open frame is read as it was written', () => {
    fc.assert(
      fc.property(id, destination, (channel, to) => {
        const bytes = encodeMuxOpen(channel, to)
        const { size, frame } = read(bytes)
        expect(size).toBe(bytes.length)
        expect(frame).toMatchObject({ command: 1, id: channel, destination: to })
      }),
    )
  })

  test('a window is read as it was written, beyond 32 bits too', () => {
    fc.assert(
      fc.property(id, fc.maxSafeNat(), (channel, allowed) => {
        expect(read(encodeMuxWindow(channel, allowed)).frame).toMatchObject({
          id: channel,
          allowed,
        })
      }),
    )
  })

  test('a part of a frame asks for more', () => {
    fc.assert(
      fc.property(id, destination, fc.nat(), (channel, to, at) => {
        const bytes = encodeMuxOpen(channel, to)
        expect(read(bytes.subarray(0, at % bytes.length)).size).toBe(0)
      }),
    )
  })

  test('arbitrary bytes never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat({ max: 7 }), (bytes, command) => {
        const shaped = Uint8Array.from(bytes)
        if (shaped.length > 2) shaped.set([shaped.length, 0, command])
        expect(read(bytes).size).toBeLessThanOrEqual(bytes.length)
        expect(read(shaped).size).toBeLessThanOrEqual(shaped.length)
      }),
    )
  })

  test.each([
    ['a length below the fixed part', '06000206000000'],
    ['a length beyond any header', 'ffff0206000000'],
    ['an unknown command', '07000906000000'],
    ['a dedicated connection', '11000104000000010104007f000001901f'],
    ['an address of five bytes', '12000104000000020105007f00000100901f'],
    ['a window beyond 2^53', '0f000509000000ffffffffffffffff'],
  ])('%s is no frame', (_, bytes) => {
    expect(read(Uint8Array.from(Buffer.from(bytes, 'hex'))).size).toBe(-1)
  })
})

describe('datagrams', () => {
  test('a datagram is read as it was written, in whatever pieces it comes', () => {
    const payload = fc.uint8Array({ maxLength: 2000 })
    fc.assert(
      fc.property(ip, port, payload, fc.nat(), (address, number, bytes, at) => {
        const peer = { ip: address, port: number }
        const framed = new Uint8Array(muxDatagramHeaderBytes(address) + bytes.length)
        framed.set(bytes, writeMuxDatagram(framed, dataView(framed), peer, bytes.length))
        expect(readMuxDatagram(framed.subarray(0, at % framed.length))).toBeUndefined()
        const offset = framed.length - bytes.length
        expect(readMuxDatagram(framed)).toEqual({
          size: framed.length,
          peer,
          offset,
          length: bytes.length,
        })
      }),
    )
  })

  test('vpnkit’s agent sends no address', () => {
    const framed = Uint8Array.from(Buffer.from('0c0000000000000002006869', 'hex'))
    expect(readMuxDatagram(framed)).toEqual({ size: 12, peer: undefined, offset: 10, length: 2 })
  })

  test('the largest datagram, whose outer length wraps', () => {
    const framed = new Uint8Array(10 + 65_530)
    writeMuxDatagram(framed, dataView(framed), undefined, 65_530)
    expect(readMuxDatagram(framed)).toMatchObject({ size: 65_540, length: 65_530 })
  })

  test('lengths that contradict each other are malformed', () => {
    expect(readMuxDatagram(Uint8Array.from(Buffer.from('0d000000000000000200', 'hex')))).toBe(
      'malformed',
    )
    expect(readMuxDatagram(Uint8Array.from(Buffer.from('0d000300', 'hex')))).toBe('malformed')
  })
})
