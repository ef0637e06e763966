import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { ManualClock, memoryNetwork } from '@netkit/core'
import { describe, expect, test } from 'vitest'
import { createPortBroker } from '../index.ts'
import { findLinuxHolder, guestHolders } from './index.ts'
import { parseGuestListing } from './guest-holders.ts'

/** As busybox and GNU print it. */
const LISTING = `== /etc/passwd
root:x:0:0:root:/root:/bin/sh
www:x:33:33::/:/bin/false
== /proc/net/tcp
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 4711 1 0 100 0 0 10 0
   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
== /proc/1/comm
init
== /proc/77/comm
httpd
== links
/proc/1/fd:
/proc/77/fd:
lrwx------    1 root     root            64 Nov 28 00:00 3 -> socket:[99]
lrwx------    1 root     root            64 Nov 28 00:00 4 -> socket:[4711]
`

describe('a guest’s listing', () => {
  const files = parseGuestListing(LISTING)
  const find = (ip: string, port: number): ReturnType<typeof findLinuxHolder> =>
    findLinuxHolder({ protocol: 'tcp', ip, port }, AbortSignal.timeout(5000), {
      files,
      side: 'guest',
    })

  test('names process, pid and user', async () => {
    const holder = { kind: 'process', side: 'guest', pid: 77, command: 'httpd', user: 'www' }
    expect(await find('127.0.0.1', 8080)).toEqual(holder)
  })

  test('names the user alone where the descriptors cannot be seen', async () => {
    expect(await find('127.0.0.1', 80)).toEqual({ kind: 'process', side: 'guest', user: 'root' })
  })

  test('knows of nobody on another address or port', async () => {
    expect(await find('192.168.65.3', 80)).toBeUndefined()
    expect(await find('127.0.0.1', 81)).toBeUndefined()
  })

  test.each(['', '== links\n', '== /proc/net/tcp', 'nonsense\n== \n== links\n/proc/x/fd:\n'])(
    'that is cut off or nonsense (%j) names nobody',
    async (text) => {
      const at = { protocol: 'tcp', ip: '0.0.0.0', port: 80 } as const
      const options = { files: parseGuestListing(text), side: 'guest' } as const
      expect(await findLinuxHolder(at, AbortSignal.timeout(5000), options)).toBeUndefined()
    },
  )
})

const elsewhere = process.platform === 'linux' ? undefined : 'it needs Linux'
const onLinux = { skip: elsewhere !== undefined, meta: { skipReason: elsewhere } }

const run = async (script: string): Promise<string> =>
  (await promisify(execFile)('sh', ['-c', script], { maxBuffer: 1 << 26 })).stdout

test('the script finds this very process, as it would one in a guest', onLinux, async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const at = { protocol: 'tcp', ip: '127.0.0.1', port } as const
  const holder = await guestHolders({ run }).find(at, AbortSignal.timeout(60_000))
  expect(holder).toMatchObject({ kind: 'process', side: 'guest', pid: process.pid })
  server.close()
})

describe('broker.probe on the guest’s side', () => {
  const request = { protocol: 'tcp', ip: '0.0.0.0', port: 8080 } as const

  test('says that the port is taken inside the guest, by whom, and what to do', async () => {
    const broker = createPortBroker({
      host: memoryNetwork(),
      guestHolders: guestHolders({ run: () => Promise.resolve(LISTING) }),
    })
    const [onHost] = await broker.probe([request])
    const [inGuest] = await broker.probe([request], { side: 'guest' })
    expect(onHost?.error).toBeUndefined()
    expect(inGuest?.error).toMatchObject({
      code: 'EADDRINUSE',
      reason: 'address already in use inside the guest by "httpd" (pid 77, user www, in the guest)',
      hint: 'Stop it in the guest, or publish another guest port.',
    })
    expect(inGuest?.error?.dockerMessage).toContain('port is already allocated')
  })

  test('a guest that does not answer holds nobody up: nothing is known after 300 ms', async () => {
    const clock = new ManualClock()
    let asked: AbortSignal | undefined
    const broker = createPortBroker({
      host: memoryNetwork(),
      clock,
      guestHolders: guestHolders({
        run: (_, signal) => {
          asked = signal
          return new Promise(() => {})
        },
      }),
    })
    const probing = broker.probe([request], { side: 'guest' })
    await expect.poll(() => asked).toBeInstanceOf(AbortSignal)
    await clock.advance(300)
    expect(await probing).toMatchObject([{ error: undefined }])
    expect(asked?.aborted).toBe(true)
  })
})
