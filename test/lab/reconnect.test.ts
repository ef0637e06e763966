/**
 * `netkit gateway` is killed and started again while a VM lives, in both ways in which a QEMU older than 8.0 gets its link back: it
 * listens and netkit dials, or it dials and is told to dial again. The guest keeps its address without a word of DHCP, and what it
 * had open fails at once.
 */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { bootQemu, hostServices, linuxTools, patternDigest } from '@netkit/guests'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { unless } from './skip-reason.ts'

const MEGABYTE = 1 << 20
const NETKIT = join(import.meta.dirname, '../../packages/cli/src/main.ts')

/** What `netkit gateway --json` says when it serves. */
interface Ready {
  readonly gateway: string
  readonly hostAlias: string
}

describe('a gateway that is killed and comes back', unless(inject('missingGuests').qemu), () => {
  let folder: string
  let path: string
  let netkit: ChildProcess | undefined
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'netkit-reconnect-'))
    path = join(folder, 'vm.sock')
  })
  afterEach(async () => {
    await kill()
    await rm(folder, { recursive: true, force: true })
  })

  async function start(...options: string[]): Promise<Ready> {
    const command = [NETKIT, 'gateway', '--qemu', path, '--mtu', '1500', '--host-alias', '--json']
    netkit = spawn(process.execPath, ['--conditions=netkit-source', ...command, ...options], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const { stdout } = netkit
    if (stdout === null) throw new TypeError('netkit has no output.')
    for await (const line of createInterface({ input: stdout }))
      if (line.includes('"ready"')) return JSON.parse(line) as Ready
    throw new Error('netkit ended before it was ready.')
  }

  async function kill(): Promise<void> {
    if (netkit === undefined || netkit.exitCode !== null || netkit.signalCode !== null) return
    netkit.kill('SIGKILL')
    await once(netkit, 'exit')
  }

  test.each([
    { kind: 'listens', options: ['--connect'] },
    { kind: 'dials', options: [] },
  ] as const)('QEMU $kind', async ({ kind, options }) => {
    // A QEMU that dials has one try: the gateway is there first.
    const first = kind === 'dials' ? await start(...options) : undefined
    await using qemu = await bootQemu({ netdev: { kind, path } })
    const { hostAlias, gateway } = first ?? (await start(...options))
    const tools = linuxTools(qemu)
    const { ip } = await tools.lease()
    await using http = await hostServices.http('ipv4')
    await using endless = await hostServices.endless('ipv4')
    const downloads = async (): Promise<void> => {
      const from = { host: hostAlias, port: http.port }
      const { sha256 } = await tools.download(from, `/bytes/${MEGABYTE}`)
      expect(sha256).toBe(patternDigest(MEGABYTE))
    }
    await downloads()

    // A flow that is in mid-transfer when the gateway dies; the guest writes to it once there is another.
    const flow = qemu.exec(`
      exec 4<>/dev/tcp/${hostAlias}/${endless.port} || exit 1
      head -c ${MEGABYTE} <&4 >/dev/null; touch /tmp/open
      until [ -e /tmp/speak ]; do usleep 50000; done
      cat <&4 >/dev/null & reader=$!
      while echo still there >&4; do usleep 50000; done
      wait $reader`)
    await qemu.exec('until [ -e /tmp/open ]; do usleep 50000; done')

    await kill()
    expect((await endless.next()).end).not.toBe('')
    await start(...options)
    if (kind === 'dials') await qemu.redial()

    await downloads()
    expect((await qemu.exec('ip -4 addr show eth0')).stdout).toContain(`inet ${ip}/`)
    expect(await tools.ping(gateway, 1)).toEqual({ sent: 1, received: 1 })
    await qemu.exec('touch /tmp/speak')
    expect((await flow).stdout).toMatch(/Connection reset by peer/)
    // And a lease that is renewed is the same.
    expect(await tools.lease()).toMatchObject({ ip })
  })
})
