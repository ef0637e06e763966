/** How long `POST /containers/{id}/start` takes for a container with a published port. */

import { ENGINE_IMAGE } from '@netkit/guests'
import { ask } from './ask.ts'

/** A time per start, `ms`, in the order of the starts. */
export interface StartTimes {
  readonly direct: readonly number[]
  readonly proxied: readonly number[]
}

/** Starts `count` containers each way, one after the other, in turns. */
export async function startTimes(
  sockets: { direct: string; proxied: string },
  count: number,
): Promise<StartTimes> {
  const times = { direct: [] as number[], proxied: [] as number[] }
  for (let i = 0; i < count; i++) {
    // Neither is always first.
    const turn = i % 2 === 0 ? (['direct', 'proxied'] as const) : (['proxied', 'direct'] as const)
    for (const way of turn) times[way].push(await startOnce(sockets[way]))
  }
  return times
}

async function startOnce(socket: string): Promise<number> {
  const created = await ask(socket, 'POST', '/containers/create', {
    Image: ENGINE_IMAGE,
    Cmd: ['sleep', '60'],
    ExposedPorts: { '80/tcp': {} },
    HostConfig: { PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '18080' }] } },
  })
  const { Id } = created as { Id: string }
  const began = performance.now()
  await ask(socket, 'POST', `/containers/${Id}/start`)
  const took = performance.now() - began
  await ask(socket, 'DELETE', `/containers/${Id}?force=1`)
  return took
}
