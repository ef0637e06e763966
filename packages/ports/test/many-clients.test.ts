/** More clients at once than the process has descriptors. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { descriptorLimit } from '../src/node/index.ts'

const CLIENTS = 9000
const DESCRIPTORS = 4096

const script = fileURLToPath(new URL('many-clients-broker.ts', import.meta.url))

function reasonToSkip(): string | undefined {
  if (process.platform !== 'linux') return 'it needs a shell with ulimit -n, as on Linux'
  if (descriptorLimit() < CLIENTS + 500)
    return `${CLIENTS} clients need as many descriptors (ulimit -n ${CLIENTS + 500})`
  return undefined
}
const skipReason = reasonToSkip()
const needed = { skip: skipReason !== undefined, meta: { skipReason }, timeout: 120_000 }

/** `served` when the first bytes come, `reset` when the connection ends without any. */
function outcome(socket: Socket): Promise<'served' | 'reset'> {
  return new Promise((resolve) => {
    socket.on('error', () => resolve('reset'))
    socket.once('data', () => resolve('served'))
    socket.once('close', () => resolve('reset'))
  })
}

test(
  `${CLIENTS} clients at once on ${DESCRIPTORS} descriptors: as many as fit are served, the rest are reset, and the port lives on`,
  needed,
  async () => {
    const command = [process.execPath, '--conditions=netkit-source', '--no-warnings', script]
    const limited = ['-c', `ulimit -n ${DESCRIPTORS}; exec "$@"`, 'sh']
    const child = spawn('sh', limited.concat(command), { stdio: ['pipe', 'pipe', 'inherit'] })
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    const { port, maxFlows } = JSON.parse(line.toString()) as { port: number; maxFlows: number }
    expect(maxFlows).toBeLessThan(DESCRIPTORS)

    const sockets = Array.from({ length: CLIENTS }, () => connect(port, '127.0.0.1'))
    const outcomes = await Promise.all(sockets.map(outcome))
    expect(outcomes.filter((how) => how === 'served')).toHaveLength(maxFlows)

    // Where a server never ends its direction, only a reset ends the whole.
    for (const socket of sockets) socket.resetAndDestroy()
    await expect
      .poll(
        async () => {
          const late = connect(port, '127.0.0.1')
          const how = await outcome(late)
          late.destroy()
          return how
        },
        { timeout: 60_000 },
      )
      .toBe('served')
    expect(child.exitCode).toBeNull()
    child.stdin.end()
    await once(child, 'exit')
  },
)
