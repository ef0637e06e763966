/**
 * The docker command through `netkit docker` against the engine's own socket, in interleaved rounds; writes docs/benchmarks-docker.md.
 * Needs root and Linux: the engine runs in namespaces (test/guests/src/engine).
 */

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { enginePortRange } from '@netkit/guestnet'
import { startEngineGuest } from '@netkit/guests'
import { idleStreams } from './idle-streams.ts'
import { page } from './page.ts'
import { saveAndLoad } from './save-and-load.ts'
import { startTimes } from './start-times.ts'

const { values } = parseArgs({
  options: {
    starts: { type: 'string', default: '40' },
    rounds: { type: 'string', default: '3' },
    megabytes: { type: 'string', default: '500' },
    streams: { type: 'string', default: '1000' },
    out: { type: 'string', default: 'docs/benchmarks-docker.md' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(
    'bench:docker [--starts 40] [--rounds 3] [--megabytes 500] [--streams 1000] [--out docs/benchmarks-docker.md]\n',
  )
  process.exit(0)
}
const said = (text: string): void => void process.stderr.write(`${text}\n`)

const folder = mkdtempSync(join(tmpdir(), 'netkit-bench-'))
const engine = await startEngineGuest({ portRange: enginePortRange(), progress: said })
const listen = join(folder, 'proxy.sock')
const netkit = await startNetkit(engine.socket, listen)
try {
  const sockets = { direct: engine.socket, proxied: listen }
  // First, in a process that has done nothing yet.
  said('idle streams')
  const idle = await idleStreams(listen, Number(values.streams), netkit.pid ?? 0)
  said('starts')
  const starts = await startTimes(sockets, Number(values.starts))
  said('save | load')
  const transfers = await saveAndLoad(engine.client, sockets, {
    megabytes: Number(values.megabytes),
    rounds: Number(values.rounds),
  })
  const machine = `${availableParallelism()} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, Node ${process.versions.node}`
  writeFileSync(values.out, page({ machine, starts, transfers, idle }))
  said(`wrote ${values.out}`)
} finally {
  netkit.kill('SIGTERM')
  await engine.close()
  rmSync(folder, { recursive: true, force: true })
}

/** `netkit docker` in a process of its own: its memory is measured. */
async function startNetkit(socket: string, at: string): Promise<ChildProcess> {
  const main = new URL('../../packages/cli/src/main.ts', import.meta.url).pathname
  const options = [
    '--engine',
    `unix://${socket}`,
    '--listen',
    at,
    '--guest-ip',
    '127.0.0.1',
    '--json',
  ]
  const child = spawn(
    process.execPath,
    ['--conditions=netkit-source', main, 'docker', ...options],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const lines = createInterface({ input: child.stdout })
  const [line] = (await once(lines, 'line')) as [string]
  if (!line.includes('"ready"')) throw new Error(`netkit docker said ${line}`)
  return child
}
