import { blockOf, memoryNetwork, readAll, writeAll } from '@netkit/core'
import type { ByteStream } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { encodeProxyHeader } from '../index.ts'
import {
  changeableComponent,
  encodeHelperRequest,
  HELPER_REQUEST_BYTES,
  inheritedListeners,
  listenRelayed,
} from './index.ts'
import type { OwnershipFiles } from './index.ts'

describe('requests to the helper', () => {
  test('the layout in the head of netkit-portd.c', () => {
    const request = encodeHelperRequest(
      7,
      { protocol: 'tcp', ip: '127.0.0.1', port: 80 },
      '/run/x.sock',
    )
    expect(request).toHaveLength(HELPER_REQUEST_BYTES)
    expect(Buffer.from(request.subarray(0, 32)).toString('hex')).toBe(
      '4e4b50420101060400000007005000017f000001000000000000000000000000',
    )
    expect(new TextDecoder().decode(request.subarray(32)).replaceAll('\0', '')).toBe('/run/x.sock')
    const v6 = encodeHelperRequest(1, { protocol: 'udp', ip: '::1', port: 53 })
    expect([...v6.subarray(6, 8), ...v6.subarray(14, 16), v6[31]]).toEqual([17, 6, 0, 0, 1])
  })

  test('what is no address or no socket path is refused here, not there', () => {
    const at = { protocol: 'tcp', ip: '127.0.0.1', port: 80 } as const
    expect(() => encodeHelperRequest(1, { ...at, ip: 'localhost' })).toThrow('not an IP address')
    expect(() => encodeHelperRequest(1, at, 'relative.sock')).toThrow('absolute path')
    expect(() => encodeHelperRequest(1, at, `/${'x'.repeat(103)}`)).toThrow('at most 103 bytes')
  })
})

const ownedBy = (changed: string, uid: number, mode: number): OwnershipFiles => ({
  realpath: (path) => path,
  lstat: (path) => (path === changed ? { uid, mode } : { uid: 0, mode: 0o40755 }),
})
describe('root’s code on root’s path', () => {
  const path = '/usr/local/libexec/netkit/netkit-portd'

  test.each([
    ['the file is the user’s', path, 1000, 0o100755],
    ['a directory is the user’s (Homebrew’s /usr/local)', '/usr/local', 501, 0o40755],
    ['a directory is writable for a group', '/usr/local/libexec', 0, 0o40775],
    ['a directory is writable for all, sticky or not', '/usr', 0, 0o41777],
    ['the root directory is', '/', 0, 0o40757],
  ])('%s', (_, changed, uid, mode) => {
    expect(changeableComponent(path, ownedBy(changed, uid, mode))).toBe(changed)
  })

  test('all root’s', () => {
    expect(changeableComponent(path, ownedBy('', 0, 0))).toBeUndefined()
  })
})

describe('inherited listeners', () => {
  const nothing = { readFile: () => '', readlink: () => '' }

  test('of our own launcher, by name', () => {
    const env = {
      LISTEN_FDS: '2',
      LISTEN_PID: '42',
      NETKIT_LISTEN_FDS: 'tcp/127.0.0.1/80,udp/::1/53',
    }
    expect(inheritedListeners(env, 42, nothing)).toEqual([
      { fd: 3, protocol: 'tcp', ip: '127.0.0.1', port: 80 },
      { fd: 4, protocol: 'udp', ip: '::1', port: 53 },
    ])
  })

  test('of systemd, by the inode of the descriptor', () => {
    const files = {
      readlink: (path: string) => (path === '/proc/self/fd/3' ? 'socket:[77]' : '/dev/null'),
      readFile: (path: string) =>
        path === '/proc/net/tcp'
          ? 'head\n 0: 0100007F:01BB 00000000:0000 0A 0:0 0:0 0 0 0 77 1\n'
          : 'head\n',
    }
    expect(inheritedListeners({ LISTEN_FDS: '2', LISTEN_PID: '42' }, 42, files)).toEqual([
      { fd: 3, protocol: 'tcp', ip: '127.0.0.1', port: 443 },
    ])
  })

  test('those of another process are not ours', () => {
    expect(inheritedListeners({ LISTEN_FDS: '1', LISTEN_PID: '41' }, 42, nothing)).toEqual([])
    expect(inheritedListeners({}, 42, nothing)).toEqual([])
  })
})

describe('relayed connections', () => {
  const from = { ip: '198.18.0.7', port: 40_000 }
  const to = { ip: '127.0.0.1', port: 80 }

  test('carry the ends of their header, which may come in pieces, and no byte of it', async () => {
    const network = memoryNetwork()
    const accepted = new Promise<ByteStream>(
      (resolve) => void listenRelayed(network, '/run/r.sock', resolve),
    )
    const stream = await network.connect({ path: '/run/r.sock' })
    const header = encodeProxyHeader(2, from, to)
    for (const byte of header) await writeAll(stream, Uint8Array.of(byte))
    await writeAll(stream, new TextEncoder().encode('GET'))
    const relayed = await accepted
    expect([relayed.remote, relayed.local]).toEqual([from, to])
    stream.end()
    expect(new TextDecoder().decode(await readAll(relayed))).toBe('GET')
    relayed.write(blockOf('ok'), 0, 2)
    relayed.end()
    expect(new TextDecoder().decode(await readAll(stream))).toBe('ok')
    expect((await relayed.closed).kind).toBe('fin')
  })

  test.each([
    ['no header', 'GET / HTTP/1.1\r\n'],
    ['a header without end', `PROXY TCP4 ${' '.repeat(200)}`],
  ])('%s: reset, and nobody hears of it', async (_, bytes) => {
    const network = memoryNetwork()
    let heard = 0
    await listenRelayed(network, '/run/r.sock', () => heard++)
    const stream = await network.connect({ path: '/run/r.sock' })
    await writeAll(stream, new TextEncoder().encode(bytes)).catch(() => undefined)
    expect((await stream.closed).kind).toBe('reset')
    expect(heard).toBe(0)
  })
})
