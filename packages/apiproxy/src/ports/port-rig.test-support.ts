/** A port inspector with everything around it in memory. */

import { ManualClock, memoryNetwork, readAll, writeAll } from '@netkit/core'
import { createApiProxy } from '../api-proxy.ts'
import type { ApiTroubleEvent } from '../diagnostics.ts'
import { inspectPorts } from './port-inspector.ts'
import type { PortInspector } from './port-inspector.ts'
import { ScriptedEngine, ScriptedPublisher } from './scripted-engine.test-support.ts'

/** A port inspector behind a proxy, in memory. */
export interface PortRig extends AsyncDisposable {
  readonly engine: ScriptedEngine
  readonly publisher: ScriptedPublisher
  readonly ports: PortInspector
  readonly trouble: ApiTroubleEvent[]
  readonly clock: ManualClock
  /** One request through the proxy; `status body`. */
  ask(line: string, body?: string): Promise<string>
}

/** Makes one. `prepare` sets up the engine before anything looks at it. */
export async function portRig(
  prepare: (engine: ScriptedEngine) => void = () => {},
): Promise<PortRig> {
  const engine = new ScriptedEngine()
  prepare(engine)
  await engine.listen()
  const publisher = new ScriptedPublisher()
  const trouble: ApiTroubleEvent[] = []
  const clock = new ManualClock()
  const options = { network: engine.network, endpoint: engine.endpoint, clock }
  const ports = inspectPorts({
    engine: options,
    publisher,
    target: ({ hostPort }) => ({
      network: engine.network,
      to: { ip: '192.168.65.3', port: hostPort },
    }),
    onTrouble: (event) => trouble.push(event),
  })
  const proxy = createApiProxy({ engine: options, inspectors: [ports] })
  const host = memoryNetwork()
  await proxy.listen(host, { path: '/docker' })
  return {
    engine,
    publisher,
    ports,
    trouble,
    clock,
    async ask(line, body = '') {
      const client = await host.connect({ path: '/docker' })
      await writeAll(
        client,
        `${line} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      )
      const answer = new TextDecoder().decode(await readAll(client))
      client.end()
      return `${answer.slice(9, 12)} ${answer.slice(answer.indexOf('\r\n\r\n') + 4)}`
    },
    async [Symbol.asyncDispose]() {
      await ports.close()
      await proxy.close()
    },
  }
}

/** What tests read of an inspected container. */
export interface Inspected {
  readonly Config: { readonly Labels: Record<string, string> }
  readonly HostConfig: { readonly PortBindings: unknown }
  readonly NetworkSettings: { readonly Ports: unknown }
}

/** What tests read of a listed one. */
export interface Listed {
  readonly Labels: Record<string, string>
  readonly Ports: { readonly IP: string; readonly PublicPort: number }[]
}

/** The JSON of what `ask` gave. */
export const jsonOf = (answer: string): unknown => JSON.parse(answer.slice(4))

/** One port, by its number. */
export const WEB = { '80/tcp': [{ HostIp: '', HostPort: '8080' }] }
