/** The privileged helper for tests: compiled, in a directory of root's, and clients of it that run as another user. */

import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'

/** Who netkit runs as: nobody. */
export const USER = 65_534
const source = fileURLToPath(new URL('../helper/netkit-portd.c', import.meta.url))
export const clientScript = fileURLToPath(new URL('helper-client.ts', import.meta.url))

function reasonToSkip(): string | undefined {
  if (process.platform !== 'linux') return 'the helper’s test needs Linux'
  if (process.getuid?.() !== 0) return 'the helper’s test needs root'
  try {
    execFileSync('cc', ['--version'], { stdio: 'ignore' })
  } catch {
    return 'no C compiler'
  }
  try {
    // Another user must be able to read this checkout and run this node.
    execFileSync('setpriv', [
      `--reuid=${USER}`,
      `--regid=${USER}`,
      '--clear-groups',
      process.execPath,
      '-e',
      `require('fs').readFileSync(${JSON.stringify(clientScript)})`,
    ])
  } catch {
    return 'another user cannot read this checkout, or setpriv is missing'
  }
  return undefined
}

const skipReason = reasonToSkip()
/** For `describe`: a machine that cannot run the helper names why. */
export const needed = { skip: skipReason !== undefined, meta: { skipReason } }

/** Root's directory and the helper in it, after `installHelper`. */
export const installed = { directory: '', binary: '' }
export const children: ChildProcess[] = []

/** Runs a program, as root or as somebody else; it is killed at the end. */
export function start(command: string, args: readonly string[], uid = 0): ChildProcess {
  const child = spawn(command, args, { uid, gid: uid, stdio: ['pipe', 'pipe', 'pipe'] })
  children.push(child)
  return child
}

/** Its exit status. */
export async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.exitCode
}

/** A running `serve` for `USER`, once its socket is there. */
export async function serve(name: string): Promise<{ socket: string; helper: ChildProcess }> {
  const socket = join(installed.directory, `${name}.sock`)
  const helper = start(installed.binary, [
    'serve',
    '--uid',
    `${USER}`,
    '--gid',
    `${USER}`,
    '--socket',
    socket,
  ])
  await expect.poll(() => existsSync(socket), { interval: 10 }).toBe(true)
  return { socket, helper }
}

/** A broker that runs as `USER`. */
export async function client(
  socket: string,
  ip: string,
  port: number,
  relay = '',
  program = installed.binary,
): Promise<{ child: ChildProcess; says: () => Promise<Record<string, unknown>> }> {
  const args = [
    '--conditions=netkit-source',
    '--no-warnings',
    clientScript,
    program,
    socket,
    ip,
    `${port}`,
    relay,
  ]
  const child = start(process.execPath, args, USER)
  const lines = createInterface({ input: child.stdout ?? process.stdin })[Symbol.asyncIterator]()
  const says = async (): Promise<Record<string, unknown>> => {
    const { value } = (await lines.next()) as { value: string | undefined }
    if (value === undefined) throw new Error(`the client ended: ${String(child.stderr?.read())}`)
    return JSON.parse(value) as Record<string, unknown>
  }
  return { child, says }
}

/** All that a server says. */
export async function get(ip: string, port: number): Promise<string> {
  const socket = connect(port, ip)
  let text = ''
  socket.on('data', (bytes: Buffer) => (text += String(bytes)))
  socket.on('error', () => undefined)
  await once(socket, 'close')
  return text
}

/** Ends a client by the end of its input. */
export async function stop(child: ChildProcess): Promise<void> {
  child.stdin?.end()
  await ended(child)
}

/** Compiles the helper into a directory that root alone can change. */
export function installHelper(): void {
  installed.directory = mkdtempSync('/run/netkit-test-')
  chmodSync(installed.directory, 0o755)
  installed.binary = join(installed.directory, 'netkit-portd')
  execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', installed.binary, source])
}

/** Ends everything that was started, and removes the directory. */
export function removeHelper(): void {
  for (const child of children) child.kill('SIGKILL')
  rmSync(installed.directory, { recursive: true, force: true })
}
