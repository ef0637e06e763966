/**
 * A Linux kernel as the other end of TCP: many connections, the errors that a program sees, and what the kernel itself says of its
 * flows.
 */

import { readdir } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { EgressPolicy } from '@netkit/core'
import { createGuestNetwork, type GuestNetwork } from '@netkit/guestnet'
import {
  attachLinux,
  hostServices,
  netnsGuest,
  type LinuxGuest,
  type StartedGuest,
} from '@netkit/guests'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { unless } from './skip-reason.ts'

const CONNECTIONS = 10_000
/** Open at the same time: fewer than netkit lets a guest have, and enough to re-use every table. */
const BATCH = 500

/** Documentation addresses (RFC 5737), to which the policy has an answer. */
const PROHIBITED = '203.0.113.1'
const SILENT = '203.0.113.2'

const policy: EgressPolicy = {
  decide({ ip }) {
    const reply = ip === PROHIBITED ? 'admin-prohibited' : ip === SILENT ? 'drop' : undefined
    if (reply === undefined) return { allow: true, rule: 'rest', reason: 'not spoken of' }
    return { allow: false, rule: 'closed', reason: 'closed for this test', reply }
  },
}

/** Open descriptors of this process: its sockets among them. */
const descriptors = async (): Promise<number> => (await readdir('/proc/self/fd')).length

/** iperf3 as the host's server for one test, on a port of its own choosing. */
async function iperfServer(): Promise<{ port: number } & AsyncDisposable> {
  // iperf3 does not take port 0: one that was free a moment ago stands in.
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  const child = spawn('iperf3', ['-s', '-1', '-B', '127.0.0.1', '-p', String(port), '--forceflush'])
  const exited = once(child, 'close')
  // Its first line, "Server listening", says that it does.
  await once(child.stdout, 'data')
  child.stdout.resume()
  return {
    port,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exited
    },
  }
}

describe('a kernel at the other end', unless(inject('missingGuests').netns), () => {
  let network: GuestNetwork
  let started: StartedGuest
  let guest: LinuxGuest
  let alias: string

  beforeAll(async () => {
    network = await createGuestNetwork({ hostAlias: true, policy })
    guest = await netnsGuest()
    started = await attachLinux(guest, { attach: (link) => network.attach(link, { name: 'vm' }) })
    await started.tools.lease()
    alias = network.gateway.hostAlias ?? ''
  })
  afterAll(async () => {
    await started?.close()
    await network?.close()
  })

  const flows = (): number => network.gateway.snapshot().guests[0]?.flows ?? -1

  /** A Python program in the guest: what it prints. */
  async function python(program: string, timeoutMs = 120_000): Promise<string> {
    const { code, stdout } = await guest.exec(`python3 - <<'END'\n${program}\nEND`, { timeoutMs })
    if (code !== 0) throw new Error(stdout)
    return stdout.trim()
  }

  /** errno's name for a connect. */
  const connect = (ip: string, port: number, patienceSeconds = 20): Promise<string> =>
    python(`
import errno, socket
s = socket.socket()
try:
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ${patienceSeconds * 1000})
    s.connect(('${ip}', ${port}))
    print('connected')
except OSError as e:
    print(errno.errorcode.get(e.errno, e))`)

  test(`${CONNECTIONS} connections, ${BATCH} at a time, half of them ended by RST: none fails, nothing stays behind`, async () => {
    await using echo = await hostServices.echo('ipv4')
    // What the process keeps from its first connections on is part of the start.
    expect(await started.tools.parallelEcho({ host: alias, port: echo.port }, 10)).toBe(10)
    await expect.poll(flows).toBe(0)
    const before = await descriptors()
    const good = await python(`
import socket, struct
good = 0
for batch in range(${CONNECTIONS / BATCH}):
    open_ = [socket.create_connection(('${alias}', ${echo.port}), 30) for _ in range(${BATCH})]
    for i, s in enumerate(open_): s.sendall(b'%d/%d' % (batch, i))
    for i, s in enumerate(open_): good += s.recv(64) == b'%d/%d' % (batch, i)
    for i, s in enumerate(open_):
        if i % 2: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.close()
print(good)`)
    expect(Number(good)).toBe(CONNECTIONS)
    await expect.poll(flows, { timeout: 60_000 }).toBe(0)
    await expect.poll(descriptors, { timeout: 60_000 }).toBeLessThanOrEqual(before)
  })

  test('65,535 half-open connections, then a RST for each: flows and descriptors are as before, a flow beside them lives', async () => {
    await using echo = await hostServices.echo('ipv4')
    await using flooded = await hostServices.echo('ipv4')
    await expect.poll(flows).toBe(0)
    const before = await descriptors()
    const snapshot = () => network.gateway.snapshot().guests[0]
    const droppedBefore = snapshot()?.stats.dropped ?? {}
    const risen = (reason: 'tcp-destination-limit' | 'tcp-no-flow'): number =>
      (snapshot()?.stats.dropped[reason] ?? 0) - (droppedBefore[reason] ?? 0)
    // From an address that the kernel does not have, or it would refuse the SYN-ACKs itself.
    const stranger = network.gateway.address.replace(/\d+$/, '77')
    const said = await python(`
import socket, struct
beside = socket.create_connection(('${alias}', ${echo.port}), 30)
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
src, dst = socket.inet_aton('${stranger}'), socket.inet_aton('${alias}')
def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def send(port, seq, flags):
    tcp = struct.pack('!HHIIBBHHH', port, ${flooded.port}, seq, 0, 5 << 4, flags, 65535, 0, 0)
    total = checksum(src + dst + struct.pack('!HH', 6, 20) + tcp)
    packet = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 40, 0, 0, 64, 6, 0, src, dst) + tcp[:16] + struct.pack('!H', total) + tcp[18:]
    raw.sendto(packet, ('${alias}', 0))
echoed = 0
def flood(ahead, flags):
    global echoed
    for port in range(1, 65536):
        send(port, port + ahead, flags)
        # No faster than the other end reads: a cable's queue would drop the rest.
        if port % 2000 == 0:
            beside.sendall(b'still there')
            echoed += beside.recv(64) == b'still there'
flood(0, 2)
flood(1, 4)
print(echoed)`)
    expect(said).toBe('64')
    // What was over the bound of 256 was dropped, and counted: the SYNs, and later the RSTs.
    expect(risen('tcp-destination-limit')).toBeGreaterThan(65_000)
    expect(risen('tcp-no-flow')).toBeGreaterThan(65_000)
    await expect.poll(() => snapshot()?.halfOpen, { timeout: 60_000 }).toBe(0)
    await expect.poll(flows, { timeout: 60_000 }).toBe(0)
    await expect.poll(descriptors, { timeout: 60_000 }).toBeLessThanOrEqual(before)
  })

  // What the host's own routes and routers answer is in connect-errors.test.ts.
  describe('a connect that the policy or the alias refuses', () => {
    test('ECONNREFUSED: nobody listens', async () => {
      expect(await connect(alias, 1)).toBe('ECONNREFUSED')
    })
    test('EHOSTUNREACH: the policy prohibits it (ICMP 3/13, which Linux reports so)', async () => {
      expect(await connect(PROHIBITED, 80)).toBe('EHOSTUNREACH')
    })
    test('ETIMEDOUT: the policy is silent, and the guest’s own patience ends', async () => {
      expect(await connect(SILENT, 80, 2)).toBe('ETIMEDOUT')
    })
  })

  test('half-close and reset, from either end, many at a time', async () => {
    await using digest = await hostServices.digest('ipv4')
    await using farewell = await hostServices.farewell('ipv4', 'that was all')
    await using reset = await hostServices.resetAfterLine('ipv4', 1 << 16)
    await using endless = await hostServices.endless('ipv4')
    const seen = await python(`
import collections, socket, struct
seen = collections.Counter()
def to(port): return socket.create_connection(('${alias}', port), 30)
def all_of(s):
    got = b''
    while piece := s.recv(65536): got += piece
    return got
for _ in range(50):
    s = to(${digest.port}); s.sendall(b'x' * 1000); s.shutdown(socket.SHUT_WR)
    seen['answer after our FIN'] += all_of(s).startswith(b'1000 ')
    s.close()
    s = to(${farewell.port}); got = all_of(s); s.sendall(b'one more thing'); s.close()
    seen['FIN first, then our answer'] += got == b'that was all'
    s = to(${reset.port}); s.sendall(b'go\\n')
    try: all_of(s)
    except ConnectionResetError: seen['their RST'] += 1
    s.close()
    s = to(${endless.port}); s.recv(1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()
    seen['our RST'] += 1
print(dict(seen))`)
    expect(seen).toBe(
      "{'answer after our FIN': 50, 'FIN first, then our answer': 50, 'their RST': 50, 'our RST': 50}",
    )
    for (let i = 0; i < 50; i++) {
      expect(await farewell.next()).toMatchObject({ received: 'one more thing', end: 'end' })
      expect((await endless.next()).end).toMatch(/^(ECONNRESET|EPIPE)$/)
    }
  })

  test('ss shows timestamps, SACK, mss and window scale; at a paced 200 Mbit/s the window is no limit', async () => {
    await using server = await iperfServer()
    const running = guest.exec(
      `iperf3 -c ${alias} -p ${server.port} -b 200M -t 4 --json >$NETKIT_GUEST_FOLDER/iperf; echo done`,
    )
    // The sample is taken in mid-flow: once the data connection has moved 40 MB of its 100.
    const { code, stdout } = await guest.exec(`
      for i in $(seq 300); do
        line=$(ss -tineHO state established dst ${alias} dport = :${server.port} | grep -E 'bytes_acked:[4-9][0-9]{7}')
        [ -z "$line" ] || { echo "$line"; exit 0; }
        usleep 50000
      done
      exit 1`)
    await running
    expect({ code, stdout }).toMatchObject({ code: 0 })
    expect(stdout).toMatch(/\bts sack\b/)
    expect(stdout).toMatch(/\bwscale:[1-9]\d*,[1-9]\d*\b/)
    expect(stdout).toMatch(/\bmss:1448\b/)
    // Absent when it never was: "rwnd_limited:12ms(0.4%)".
    const limited = Number(/rwnd_limited:\d+ms\(([\d.]+)%\)/.exec(stdout)?.[1] ?? 0)
    expect(limited).toBeLessThan(5)
  })
})
