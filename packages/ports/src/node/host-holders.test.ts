import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { fakeCommands, hostCommands } from '@netkit/core/node'
import type { HostCommands } from '@netkit/core/node'
import { bindWay } from './bind-way.ts'
import type { BindFacts } from './bind-way.ts'
import { findDarwinHolder, parseLsof } from './darwin-holders.ts'
import { canBindAnyPort, ephemeralPool, maxFlowsByDescriptors } from './host-facts.ts'
import { hostHolders } from './host-holders.ts'
import { findLinuxHolder, parseProcNet } from './linux-holders.ts'
import type { ProcFiles } from './linux-holders.ts'
import { parseExcludedRanges, parseNetstat } from './windows-holders.ts'

const signal = AbortSignal.timeout(10_000)
const addresses = { list: () => ['127.0.0.1', '::1', '198.18.0.1'] }

// Linux: the layout of Documentation/networking/proc_net_tcp.rst and proc(5).
const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   107        0 21043 1 0000000000000000 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21044 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1538 0100007F:C350 01 00000000:00000000 00:00000000 00000000   107        0 21045 1 0000000000000000 20 4 30 10 -1
`
const TCP6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 21046 1 0000000000000000 100 0 0 10 0
   1: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 21047 1 0000000000000000 100 0 0 10 0
`
const UDP = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000   108        0 21048 2 0000000000000000 0
`

const elsewhere = process.platform === 'linux' ? undefined : 'it needs Linux'
const onLinux = { skip: elsewhere !== undefined, meta: { skipReason: elsewhere } }

const missing = (path: string): Promise<never> => Promise.reject(new Error(`ENOENT ${path}`))

function linux(readable: boolean): ProcFiles {
  const files: Record<string, string> = {
    '/proc/net/tcp': TCP,
    '/proc/net/tcp6': TCP6,
    '/proc/net/udp': UDP,
    '/proc/4242/comm': 'postgres\n',
    '/etc/passwd':
      'root:x:0:0:root:/root:/bin/bash\npostgres:x:107:115::/var/lib/postgresql:/bin/bash\n',
  }
  const directories: Record<string, string[]> = { '/proc': ['1', '4242', 'net', 'self'] }
  if (readable) directories['/proc/4242/fd'] = ['0', '7']
  return {
    readFile: async (path) => files[path] ?? missing(path),
    readdir: async (path) => directories[path] ?? missing(path),
    readlink: async (path) => (path === '/proc/4242/fd/7' ? 'socket:[21043]' : '/dev/null'),
  }
}

describe('Linux', () => {
  test('the tables of /proc/net: listeners and unconnected datagram ports only', () => {
    expect(parseProcNet(TCP, 'tcp')).toEqual([
      { ip: '127.0.0.1', port: 5432, uid: 107, inode: '21043' },
      { ip: '0.0.0.0', port: 80, uid: 0, inode: '21044' },
    ])
    expect(parseProcNet(TCP6, 'tcp').map(({ ip, port }) => ({ ip, port }))).toEqual([
      { ip: '::', port: 8080 },
      { ip: '2001:db8::1', port: 443 },
    ])
    expect(parseProcNet(UDP, 'udp')).toEqual([
      { ip: '0.0.0.0', port: 5353, uid: 108, inode: '21048' },
    ])
    expect(parseProcNet('no such table', 'tcp')).toEqual([])
  })

  test('process, pid and user by the inode', async () => {
    const at = { protocol: 'tcp', ip: '127.0.0.1', port: 5432 } as const
    const holder = {
      kind: 'process',
      side: 'host',
      pid: 4242,
      command: 'postgres',
      user: 'postgres',
    }
    expect(await findLinuxHolder(at, signal, { files: linux(true) })).toEqual(holder)
    const wildcard = { ...at, ip: '0.0.0.0' }
    expect(await findLinuxHolder(wildcard, signal, { files: linux(true) })).toEqual(holder)
    const other = { ...at, ip: '127.0.0.2' }
    expect(await findLinuxHolder(other, signal, { files: linux(true) })).toBeUndefined()
  })

  test('another user’s process: the user is named, by number when he has no name', async () => {
    const files = linux(false)
    const db = { protocol: 'tcp', ip: '127.0.0.1', port: 5432 } as const
    expect(await findLinuxHolder(db, signal, { files })).toEqual({
      kind: 'process',
      side: 'host',
      user: 'postgres',
    })
    const mdns = { protocol: 'udp', ip: '198.18.0.1', port: 5353 } as const
    expect(await findLinuxHolder(mdns, signal, { files, side: 'guest' })).toEqual({
      kind: 'process',
      side: 'guest',
      user: 'uid 108',
    })
  })

  test('a dual-stack wildcard stands in the way of IPv4', async () => {
    const at = { protocol: 'tcp', ip: '127.0.0.1', port: 8080 } as const
    expect(await findLinuxHolder(at, signal, { files: linux(true) })).toMatchObject({
      user: 'uid 1000',
    })
  })

  test('a real listener of another process', onLinux, async () => {
    const script = `const s = require('net').createServer().listen(0, '127.0.0.1', () => console.log(s.address().port))`
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      const [line] = (await once(child.stdout, 'data')) as [Buffer]
      const at = { protocol: 'tcp', ip: '127.0.0.1', port: Number(String(line)) } as const
      const holder = await hostHolders().find(at, signal)
      expect(holder).toMatchObject({ kind: 'process', side: 'host', pid: child.pid })
    } finally {
      child.kill()
    }
  })
})

// macOS: lsof(8), "OUTPUT FOR OTHER PROGRAMS": one field per line, the process set before its files.
const LSOF = `p501
cpostgres
Lalice
f7
n127.0.0.1:5432
f8
n[::1]:5432
p777
cnode
Lbob
f21
n*:5432
`

describe('macOS', () => {
  test('what lsof prints', () => {
    expect(parseLsof(LSOF)).toEqual([
      { pid: 501, command: 'postgres', user: 'alice', names: ['127.0.0.1:5432', '[::1]:5432'] },
      { pid: 777, command: 'node', user: 'bob', names: ['*:5432'] },
    ])
    expect(parseLsof('')).toEqual([])
  })

  test('the exact address comes before the wildcard', async () => {
    const commands = fakeCommands({ '/usr/sbin/lsof -nP -iTCP:5432 -sTCP:LISTEN -FpcLn': LSOF })
    const find = async (ip: string): Promise<unknown> =>
      await findDarwinHolder({ protocol: 'tcp', ip, port: 5432 }, signal, commands)
    expect(await find('::1')).toMatchObject({ pid: 501, command: 'postgres', user: 'alice' })
    expect(await find('198.18.0.1')).toMatchObject({ pid: 777 })
  })

  test('a real lsof prints that', onLinux, async ({ skip }) => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    // Linux has it elsewhere.
    const commands: HostCommands = {
      ...hostCommands,
      run: (_, args, options) => hostCommands.run('lsof', args, options),
    }
    try {
      const at = { protocol: 'tcp', ip: '127.0.0.1', port } as const
      const holder = await findDarwinHolder(at, signal, commands).catch(
        (error: { code?: string }) => error.code,
      )
      if (holder === 'ENOENT') skip('no lsof on this machine')
      expect(holder).toMatchObject({ pid: process.pid })
    } finally {
      server.close()
    }
  })
})

// Windows: netstat as in learn.microsoft.com/windows-server/administration/windows-commands/netstat, here with German states;
// netsh as quoted in docker/for-win#3171.
const NETSTAT = `
Aktive Verbindungen

  Proto  Lokale Adresse         Remoteadresse          Status           PID
  TCP    0.0.0.0:135            0.0.0.0:0              ABHÖREN         1044
  TCP    127.0.0.1:5432         0.0.0.0:0              ABHÖREN         4242
  TCP    127.0.0.1:5432         127.0.0.1:50000        HERGESTELLT     4242
  TCP    [::]:80                [::]:0                 ABHÖREN         4
  UDP    0.0.0.0:5353           *:*                                    2222
  UDP    [fe80::1%12]:1900      *:*                                    3333
`
const TASKLIST = '"postgres.exe","4242","Services","0","21,380 K"\r\n'
const NETSH = `
Protocol tcp Port Exclusion Ranges

Start Port    End Port
----------    --------
        80          80
     50000       50059     *
     55321       55420

* - Administered port exclusions.
`

describe('Windows', () => {
  const facts: BindFacts = { platform: 'win32', release: '10.0.22631', privileged: false }
  const commands = fakeCommands({
    'netstat -ano': NETSTAT,
    'tasklist /FI PID eq 4242 /FO CSV /NH': TASKLIST,
    'netsh interface ipv4 show excludedportrange protocol=tcp': NETSH,
  })
  const holders = hostHolders({ facts, commands, addresses })

  test('what netstat and netsh print, in any language', () => {
    expect(parseNetstat(NETSTAT, 'tcp')).toEqual([
      { ip: '0.0.0.0', port: 135, pid: 1044 },
      { ip: '127.0.0.1', port: 5432, pid: 4242 },
      { ip: '::', port: 80, pid: 4 },
    ])
    expect(parseNetstat(NETSTAT, 'udp')).toEqual([
      { ip: '0.0.0.0', port: 5353, pid: 2222 },
      { ip: 'fe80::1', port: 1900, pid: 3333 },
    ])
    expect(parseExcludedRanges(NETSH)).toEqual([
      { first: 80, last: 80 },
      { first: 50_000, last: 50_059 },
      { first: 55_321, last: 55_420 },
    ])
  })

  test('a process by its image, the kernel’s web server by its name', async () => {
    const db = { protocol: 'tcp', ip: '127.0.0.1', port: 5432 } as const
    expect(await holders.find(db, signal)).toMatchObject({ pid: 4242, command: 'postgres.exe' })
    const web = { protocol: 'tcp', ip: '0.0.0.0', port: 80 } as const
    expect(await holders.find(web, signal)).toMatchObject({ pid: 4, command: 'HTTP.sys (System)' })
  })

  test('an excluded range', async () => {
    const at = { protocol: 'tcp', ip: '127.0.0.1', port: 50_010 } as const
    expect(await holders.obstacle?.(at, signal)).toEqual({
      code: 'EXCLUDED_RANGE',
      holder: { kind: 'excluded-range', first: 50_000, last: 50_059 },
    })
    expect(await holders.obstacle?.({ ...at, port: 50_100 }, signal)).toBeUndefined()
  })
})

describe('what the host lets us bind', () => {
  const linuxFacts = { platform: 'linux', release: '6.1.0', privileged: false } as const
  const table: [string, BindFacts, string, number, 'direct' | 'helper'][] = [
    ['Linux', linuxFacts, '127.0.0.1', 80, 'helper'],
    ['Linux', linuxFacts, '0.0.0.0', 80, 'helper'],
    ['Linux', linuxFacts, '::1', 1023, 'helper'],
    ['Linux', linuxFacts, '127.0.0.1', 1024, 'direct'],
    ['Linux, limit 80', { ...linuxFacts, unprivilegedPortStart: 80 }, '127.0.0.1', 80, 'direct'],
    ['Linux, limit 80', { ...linuxFacts, unprivilegedPortStart: 80 }, '127.0.0.1', 79, 'helper'],
    ['Linux, root or setcap', { ...linuxFacts, privileged: true }, '127.0.0.1', 80, 'direct'],
    [
      'macOS 10.13',
      { platform: 'darwin', release: '17.7.0', privileged: false },
      '0.0.0.0',
      80,
      'helper',
    ],
    [
      'macOS 10.14',
      { platform: 'darwin', release: '18.0.0', privileged: false },
      '0.0.0.0',
      80,
      'direct',
    ],
    [
      'macOS 10.14',
      { platform: 'darwin', release: '18.0.0', privileged: false },
      '::',
      80,
      'direct',
    ],
    [
      'macOS 15',
      { platform: 'darwin', release: '24.1.0', privileged: false },
      '127.0.0.1',
      80,
      'helper',
    ],
    ['macOS 15', { platform: 'darwin', release: '24.1.0', privileged: false }, '::1', 80, 'helper'],
    [
      'macOS 15',
      { platform: 'darwin', release: '24.1.0', privileged: false },
      '127.0.0.1',
      1024,
      'direct',
    ],
    [
      'macOS 15, root',
      { platform: 'darwin', release: '24.1.0', privileged: true },
      '127.0.0.1',
      80,
      'direct',
    ],
    [
      'Windows',
      { platform: 'win32', release: '10.0.22631', privileged: false },
      '127.0.0.1',
      80,
      'direct',
    ],
    ['any', linuxFacts, '127.0.0.1', 0, 'direct'],
  ]
  test.each(table)('%s %o %s:%i: %s', (_, facts, ip, port, way) => {
    expect(bindWay(facts, ip, port)).toBe(way)
  })

  test('a low port without privileges: the limit and the ways out are told', async () => {
    const holders = hostHolders({ facts: linuxFacts, addresses })
    const obstacle = await holders.obstacle?.(
      { protocol: 'tcp', ip: '127.0.0.1', port: 80 },
      signal,
    )
    expect(obstacle).toMatchObject({ code: 'EACCES' })
    expect(obstacle?.hint).toContain('ip_unprivileged_port_start=80')
    expect(obstacle?.hint).toContain('setcap')
    const withoutHelper = hostHolders({
      facts: linuxFacts,
      addresses,
      helper: () => ({ ready: false, hint: 'Start netkit-portd' }),
    })
    const other = await withoutHelper.obstacle?.(
      { protocol: 'tcp', ip: '127.0.0.1', port: 80 },
      signal,
    )
    expect(other).toMatchObject({
      code: 'HELPER_MISSING',
      hint: expect.stringContaining('Start netkit-portd'),
    })
  })

  test('an address the host does not have', async () => {
    const holders = hostHolders({ facts: linuxFacts, addresses })
    const at = { protocol: 'tcp', ip: '192.0.2.1', port: 8080 } as const
    expect(await holders.obstacle?.(at, signal)).toMatchObject({
      code: 'EADDRNOTAVAIL',
      hint: expect.stringContaining('198.18.0.1'),
    })
    expect(await holders.obstacle?.({ ...at, ip: '127.9.9.9' }, signal)).toBeUndefined()
  })

  test('capabilities are read from the kernel’s own words', () => {
    expect(canBindAnyPort('CapEff:\t0000000000000400\n')).toBe(true)
    expect(canBindAnyPort('CapEff:\t0000000000000800\n')).toBe(false)
    expect(canBindAnyPort('')).toBe(false)
  })

  test.each([
    ['32768\t60999\n', { first: 10_000, last: 32_767 }],
    ['10240 40000', { first: 40_001, last: 65_535 }],
    ['1024 65535', { first: 49_152, last: 65_535 }],
    ['', { first: 49_152, last: 65_535 }],
  ])('free ports beside the host’s range %j', (range, pool) => {
    expect(ephemeralPool(range)).toEqual(pool)
  })

  test('flows follow from the descriptor limit', () => {
    expect(maxFlowsByDescriptors(2, 1024)).toBe(448)
    expect(maxFlowsByDescriptors(1, 1024)).toBe(896)
    expect(maxFlowsByDescriptors(2, 64)).toBe(1)
    expect(maxFlowsByDescriptors()).toBeGreaterThan(0)
  })
})
