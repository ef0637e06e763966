/** Builds the whole system of a Linux guest: a kernel's virtio modules, busybox, bash, and two scripts. No root needed. */

import { existsSync } from 'node:fs'
import { readFile, realpath } from 'node:fs/promises'
import { basename } from 'node:path'
import { EXEC_TIMEOUT_MS } from '../limits.ts'
import { runCommand } from '../run-command.ts'
import { INIT_SCRIPT, UDHCPC_SCRIPT } from './guest-scripts.ts'
import { loadKernelModules } from './kernel-modules.ts'
import { newcArchive, type ArchiveEntry } from './newc.ts'

/** Where udhcpc's script is in a VM guest. */
export const UDHCPC_PATH = '/usr/share/udhcpc.sh'

/** What goes into an initramfs. */
export interface InitramfsParts {
  /** `/lib/modules/<version>` of the kernel. */
  readonly modules: string
  /** The modules that are loaded, without those that they depend on. Default what the devices need. */
  readonly wanted?: readonly string[]
  /** A statically linked busybox. */
  readonly busybox: string
  /** bash: static, or linked with libraries of this machine. */
  readonly bash: string
  /** More programs of this machine, with their libraries; those that do not exist are left out. */
  readonly programs?: readonly string[]
}

/** What the guest's devices need, and what `ss` asks the kernel through. */
export const WANTED_MODULES: readonly string[] = [
  'virtio_pci',
  'virtio_net',
  'virtio_console',
  'virtio_rng',
  'sch_fq',
  'tcp_diag',
]

/** The shared libraries and the loader of a program, as `ldd` names them; none for a static one. */
async function librariesOf(program: string): Promise<string[]> {
  const result = await runCommand('ldd', [program], { timeoutMs: EXEC_TIMEOUT_MS })
  if (result.code !== 0) return []
  const paths = result.stdout.toString().matchAll(/(?:=> )?(\/\S+) \(0x/g)
  return [...paths].map((match) => match[1] ?? '')
}

/** The entries for a program and all it loads, libraries at the paths the loader looks for. */
async function programEntries(program: string, at: string): Promise<ArchiveEntry[]> {
  const entries: ArchiveEntry[] = [
    { type: 'file', path: at, data: await readFile(program), mode: 0o755 },
  ]
  for (const library of await librariesOf(program)) {
    entries.push({
      type: 'file',
      path: library.slice(1),
      data: await readFile(await realpath(library)),
      mode: 0o755,
    })
  }
  return entries
}

/** The archive, uncompressed: the kernel unpacks that fastest. */
export async function buildInitramfs(parts: InitramfsParts): Promise<Buffer> {
  const entries = new Map<string, ArchiveEntry>()
  const add = (entry: ArchiveEntry): void => void entries.set(entry.path, entry)
  const script = (path: string, text: string): void =>
    add({ type: 'file', path, data: Buffer.from(text), mode: 0o755 })
  const text = (path: string, content: string): void =>
    add({ type: 'file', path, data: Buffer.from(content) })

  script('init', INIT_SCRIPT)
  script(UDHCPC_PATH.slice(1), UDHCPC_SCRIPT)
  add({ type: 'file', path: 'bin/busybox', data: await readFile(parts.busybox), mode: 0o755 })
  add({ type: 'link', path: 'bin/sh', target: 'busybox' })
  for (const entry of await programEntries(parts.bash, 'bin/bash')) add(entry)
  for (const program of parts.programs ?? []) {
    if (!existsSync(program)) continue
    for (const entry of await programEntries(program, `usr/local/bin/${basename(program)}`))
      add(entry)
  }
  text('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n')
  text('etc/group', 'root:x:0:\n')
  text('etc/hosts', '127.0.0.1 localhost\n::1 localhost\n')
  text('etc/resolv.conf', '')

  const modules = await loadKernelModules(parts.modules, parts.wanted ?? WANTED_MODULES)
  for (const module of modules)
    add({ type: 'file', path: `lib/modules/${module.name}.ko`, data: module.data })
  text('lib/modules/order', modules.map((module) => `${module.name}.ko\n`).join(''))
  return newcArchive(entries.values())
}
