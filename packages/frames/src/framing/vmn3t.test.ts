import { blockOf, seededRandom } from '@netkit/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameLog, send, settle, testFrame } from '../../test/frame-log.ts'
import { ManualClock } from '../../test/manual-clock.ts'
import { ByteCollector, streamPair, type TestStream } from '../../test/stream-pair.ts'
import { u16le } from './framing.ts'
import { streamLink } from './stream-link.ts'
import { dialVmn3t, macOfUuid, serveVmn3t, ZERO_UUID, type Vmn3tServerOptions } from './vmn3t.ts'

const uuid = 'a59dd26c-3f4a-4f0e-8f3f-7a1c3b3c9d10'
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

function initOf(version: number, magic = 'VMN3T', commit = 'c'.repeat(40)): Uint8Array {
  const bytes = Buffer.alloc(49)
  bytes.write(magic)
  bytes.writeUInt32LE(version, 5)
  bytes.write(commit, 9)
  return bytes
}

function command(code: number, id: string, ip: readonly number[] = [0, 0, 0, 0]): Uint8Array {
  const bytes = Buffer.alloc(41)
  bytes[0] = code
  bytes.write(id, 1)
  bytes.set(ip, 37)
  return bytes
}

/** A client that says fixed bytes, and what the server made of it. */
async function serve(options: Vmn3tServerOptions, ...said: Uint8Array[]) {
  const clock = new ManualClock()
  const [near, far] = streamPair()
  const heard = new ByteCollector(blockOf(new Uint8Array(4096)))
  far.read(heard)
  let session: unknown
  const serving = serveVmn3t(near, { clock, ...options }).then(
    (value) => (session = value),
    (error: unknown) => (session = error),
  )
  for (const bytes of said) far.write(blockOf(bytes), 0, bytes.length)
  await settle()
  return { near, far, heard, serving, clock, session: () => session }
}

describe('server', () => {
  test('a client by UUID gets its MAC, MTU and longest frame', async () => {
    const { heard, session } = await serve({ mtu: 1500 }, initOf(22), command(1, uuid))
    expect(session()).toMatchObject({ uuid, mtu: 1500, maxFrame: 1514, preferredIp: undefined })
    expect(session()).toMatchObject({ mac: macOfUuid(uuid), peerCommit: 'c'.repeat(40) })
    expect(heard.bytes.length).toBe(49 + 258)
    expect(hex(heard.bytes.subarray(0, 9))).toBe('564d4e335416000000')
    expect(hex(heard.bytes.subarray(49, 60))).toBe(`01dc05ea05${hex(macOfUuid(uuid))}`)
    expect(heard.bytes.subarray(60).every((byte) => byte === 0)).toBe(true)
  })

  test('a preferred IPv4 is little-endian on the wire and reaches admit', async () => {
    const asked: unknown[] = []
    const mac = Uint8Array.from([2, 0, 0, 0, 0, 7])
    const { session } = await serve(
      {
        admit(request) {
          asked.push(request)
          return { mac }
        },
      },
      initOf(22),
      command(8, uuid.toUpperCase(), [9, 65, 168, 192]),
    )
    expect(asked).toEqual([{ uuid, preferredIp: '192.168.65.9' }])
    expect(session()).toMatchObject({ mac })
  })

  test('the zero UUID gets an invented one, another each time', async () => {
    const random = seededRandom(1)
    const ids = new Set<string>()
    for (let i = 0; i < 3; i++) {
      const { session } = await serve({ random }, initOf(22), command(1, ZERO_UUID))
      const { uuid: invented } = session() as { uuid: string }
      expect(invented).toMatch(
        /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      )
      ids.add(invented)
    }
    expect(ids.size).toBe(3)
  })

  test('another version gets our init and then FIN', async () => {
    const { heard, session, clock, near } = await serve({}, initOf(13))
    expect(session()).toMatchObject({ code: 'NETKIT_VMN3T_VERSION' })
    expect(heard.bytes.length).toBe(49)
    expect(heard.ended).toBe(true)
    expect(near.isClosed).toBe(false)
    clock.advance(1000)
    expect(near.isClosed).toBe(true)
  })

  test('a peer that is no vpnkit client gets nothing', async () => {
    const { heard, session } = await serve({}, initOf(22, 'GET /'))
    expect(session()).toMatchObject({ code: 'NETKIT_VMN3T_MAGIC' })
    expect(heard.bytes.length).toBe(0)
    expect(heard.ended).toBe(true)
  })

  test.each([
    ['the legacy bind', command(6, uuid), 'binding ports'],
    ['an unknown command', command(77, uuid), 'command 77'],
    ['a broken UUID', command(1, 'x'.repeat(36)), 'UUID'],
  ])('%s is refused with a reason', async (_name, bytes, reason) => {
    const { heard, session } = await serve({}, initOf(22), bytes)
    expect(session()).toMatchObject({ code: 'NETKIT_VMN3T_REFUSED' })
    const reply = Buffer.from(heard.bytes.subarray(49))
    expect([reply.length, reply[0]]).toEqual([258, 2])
    expect(reply.toString('latin1', 2, 2 + (reply[1] ?? 0))).toContain(reason)
  })

  test('an error of admit is the reason that the client reads', async () => {
    const { heard } = await serve(
      { admit: () => Promise.reject(new Error('no more guests')) },
      initOf(22),
      command(1, uuid),
    )
    expect(Buffer.from(heard.bytes).toString('latin1')).toContain('no more guests')
  })

  test('silence ends in a time-out, half an init in an error', async () => {
    const silent = await serve({ timeoutMs: 50 })
    silent.clock.advance(50)
    await settle()
    expect(silent.session()).toMatchObject({ code: 'NETKIT_HANDSHAKE_TIMEOUT' })
    const cut = await serve({}, initOf(22).subarray(0, 30))
    cut.far.end()
    await settle()
    expect(cut.session()).toMatchObject({ code: 'NETKIT_HANDSHAKE_CUT' })
  })

  test('random bytes never hang it: an error or a session, and no timer is left', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 120 }), async (bytes) => {
        const { far, session, clock, near } = await serve({}, bytes)
        far.end()
        await settle()
        expect(session()).toMatchObject({ code: expect.stringMatching(/^NETKIT_/) as string })
        clock.advance(1000)
        await settle()
        expect([near.isClosed, clock.pending]).toEqual([true, []])
      }),
      { numRuns: 30 },
    )
  })
})

function shake(near: TestStream, far: TestStream) {
  return Promise.all([
    serveVmn3t(near, { mtu: 9000 }),
    dialVmn3t(far, { uuid, preferredIp: '192.168.65.20', commit: 'test' }),
  ])
}

test('client and server agree, however the bytes are cut, and frames follow at once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 400 }), async (size) => {
      const [near, far] = streamPair({ chunk: () => size })
      const [server, client] = await shake(near, far)
      expect(server.mac).toEqual(client.mac)
      expect([client.mtu, client.maxFrame]).toEqual([9000, 9014])
      expect([server.preferredIp, server.peerCommit]).toEqual(['192.168.65.20', 'test'])
      const log = new FrameLog()
      const guest = streamLink(client.stream, { framing: u16le, mtu: client.mtu })
      const gateway = streamLink(server.stream, { framing: u16le, mtu: server.mtu })
      gateway.attach(log)
      send(guest, testFrame(0, 900))
      guest.flush()
      await settle()
      expect(log.frames).toEqual([testFrame(0, 900)])
    }),
    { numRuns: 20 },
  )
})

test('the same UUID is the same MAC in either case, another UUID another', () => {
  expect(macOfUuid(uuid)).toEqual(macOfUuid(uuid.toUpperCase()))
  const macs = Array.from({ length: 1000 }, (_, i) =>
    hex(macOfUuid(uuid.slice(0, -4) + i.toString(16).padStart(4, '0'))),
  )
  expect(new Set(macs).size).toBe(1000)
})

test('a client with a wrong UUID or address is told before anything is sent', async () => {
  const [, far] = streamPair()
  await expect(dialVmn3t(far, { uuid: 'me' })).rejects.toMatchObject({ code: 'NETKIT_VMN3T_UUID' })
  await expect(dialVmn3t(far, { preferredIp: '1.2.3' })).rejects.toMatchObject({
    code: 'NETKIT_VMN3T_ADDRESS',
  })
  expect(far.queued).toBe(0)
})

test('a refused client gets the server’s words', async () => {
  const [near, far] = streamPair()
  const serving = serveVmn3t(near, {
    admit() {
      throw new Error('this UUID is in use')
    },
  }).catch((error: unknown) => error)
  await expect(dialVmn3t(far, { uuid })).rejects.toThrow('this UUID is in use')
  expect(await serving).toMatchObject({ code: 'NETKIT_VMN3T_REFUSED' })
})
