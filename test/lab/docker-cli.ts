/** The real docker command, and the engine it is used with. */

import { execFile } from 'node:child_process'
import { vi } from 'vitest'
import { engineMissing, startEngineGuest } from '@netkit/guests'
import type { EngineGuest, EngineGuestOptions } from '@netkit/guests'

/** What one command did. */
export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs the docker command against an API socket. */
export type Docker = (
  socket: string,
  args: readonly string[],
  input?: string,
  env?: Readonly<Record<string, string>>,
) => Promise<CommandResult>

/** Why no engine can run here. It is an error where `REQUIRE_GUESTS` asks for everything, and is named otherwise. */
export async function engineUnavailable(): Promise<string | undefined> {
  const missing = await engineMissing()
  if (missing !== undefined && process.env['REQUIRE_GUESTS'])
    throw new Error(`REQUIRE_GUESTS asks for everything, and no engine can run: ${missing}`)
  return missing
}

/** Starts an engine, and the docker command for it. */
export async function startLabEngine(
  options: EngineGuestOptions = {},
): Promise<{ engine: EngineGuest; docker: Docker }> {
  const engine = await startEngineGuest(options)
  return { engine, docker: dockerCommand(engine) }
}

/** A command that does not end within a minute has hung: it is killed, and its code is -1. */
function dockerCommand({ client }: EngineGuest): Docker {
  return (socket, args, input = '', env = {}) =>
    new Promise((resolve) => {
      const options = {
        env: { ...process.env, DOCKER_CONFIG: client.config, ...env },
        timeout: 60_000,
        killSignal: 'SIGKILL' as const,
        maxBuffer: 64 * 1024 * 1024,
      }
      const all = ['-H', `unix://${socket}`, ...args]
      const child = execFile(client.docker, all, options, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr })
      })
      child.stdin?.on('error', () => {})
      child.stdin?.end(input)
    })
}

/** What a container's server says at a published port, once it listens: until then the guest resets. */
export function pageAt(port: number): Promise<string> {
  const ask = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/`)).text()
  return vi.waitFor(ask, { timeout: 30_000, interval: 50 })
}
