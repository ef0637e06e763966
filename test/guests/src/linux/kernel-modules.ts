/**
 * The modules a guest's kernel needs, in the order in which they must be loaded.
 *
 * Debian's kernels have all of virtio as modules, and the wrong order fails silently ("Unknown symbol", and no NIC). Each
 * module names what it needs in its own `.modinfo` section (`depends=a,b`), so no `modules.dep` is asked for: a kernel package
 * that was only unpacked has none.
 */

import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { PACKAGE_TIMEOUT_MS } from '../limits.ts'
import { requireCommand } from '../run-command.ts'

/** A module as the guest loads it: uncompressed. */
export interface KernelModule {
  /** With `_` for `-`, as the kernel names it. */
  readonly name: string
  readonly data: Uint8Array
}

const MODULE_FILE = /^(.+)\.ko(\.xz|\.zst|\.gz)?$/

const canonical = (name: string): string => name.replaceAll('-', '_')

async function readModule(path: string): Promise<Buffer> {
  const bytes = await readFile(path)
  const unpack = (program: string): Promise<Buffer> =>
    requireCommand(program, ['-dc'], { input: bytes, timeoutMs: PACKAGE_TIMEOUT_MS })
  if (path.endsWith('.xz')) return unpack('xz')
  if (path.endsWith('.zst')) return unpack('zstd')
  return path.endsWith('.gz') ? gunzipSync(bytes) : bytes
}

/** The modules that `module` names in its `depends=` line. */
export function moduleDependencies(module: Uint8Array): string[] {
  const text = Buffer.from(module.buffer, module.byteOffset, module.byteLength)
  const marker = Buffer.from('\0depends=')
  const start = text.indexOf(marker)
  if (start < 0) return []
  const end = text.indexOf(0, start + marker.length)
  return text
    .toString('latin1', start + marker.length, end)
    .split(',')
    .filter(Boolean)
    .map(canonical)
}

/**
 * Reads `wanted` and all they depend on from the tree `/lib/modules/<version>`, dependencies first. What is not there is
 * built in.
 */
export async function loadKernelModules(
  tree: string,
  wanted: readonly string[],
): Promise<KernelModule[]> {
  const files = new Map<string, string>()
  for (const entry of await readdir(join(tree, 'kernel'), { recursive: true })) {
    const name = MODULE_FILE.exec(basename(entry))?.[1]
    if (name !== undefined) files.set(canonical(name), join(tree, 'kernel', entry))
  }
  const ordered = new Map<string, KernelModule | undefined>()
  const visit = async (name: string): Promise<void> => {
    const path = files.get(name)
    if (path === undefined || ordered.has(name)) return
    // Taken before its dependencies are visited, so that a circle ends; moved behind them below.
    ordered.set(name, undefined)
    const data = await readModule(path)
    for (const dependency of moduleDependencies(data)) await visit(dependency)
    ordered.delete(name)
    ordered.set(name, { name, data })
  }
  for (const name of wanted) await visit(canonical(name))
  return [...ordered.values()].filter((module) => module !== undefined)
}
