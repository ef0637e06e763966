/** The programs and files a QEMU guest is made of, found or made. */

import { createHash } from 'node:crypto'
import { constants, existsSync } from 'node:fs'
import { access, stat, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { cachedFolder } from '../cache.ts'
import { guestUnavailable, type Progress } from '../guest.ts'
import { debianPackages } from '../linux/debian-packages.ts'
import { INIT_SCRIPT, UDHCPC_SCRIPT } from '../linux/guest-scripts.ts'
import { buildInitramfs, WANTED_MODULES } from '../linux/initramfs.ts'
import { cloudKernel, installedKernel } from '../linux/kernel.ts'
import { EXEC_TIMEOUT_MS } from '../limits.ts'
import { runCommand } from '../run-command.ts'

/** All that a QEMU guest boots from. */
export interface QemuFiles {
  readonly qemu: string
  /** Such as `7.2.22`. */
  readonly qemuVersion: string
  readonly kernelVersion: string
  readonly kernel: string
  readonly initramfs: string
}

/** The program in `$PATH`, or in the folders where system programs are. */
export async function findProgram(name: string): Promise<string | undefined> {
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    '/bin',
    '/usr/bin',
    '/sbin',
    '/usr/sbin',
  ]
  for (const folder of folders) {
    const path = join(folder, name)
    try {
      await access(path, constants.X_OK)
      return path
    } catch {
      // Not here; the next folder may have it.
    }
  }
  return undefined
}

/** Whether the program is statically linked (it then runs in a guest as it is). */
async function isStatic(program: string): Promise<boolean> {
  const { code, stdout, stderr } = await runCommand('ldd', [program], {
    timeoutMs: EXEC_TIMEOUT_MS,
  })
  return code !== 0 || /not a dynamic executable|statically linked/.test(stdout.toString() + stderr)
}

async function staticBusybox(cache: string, progress: Progress): Promise<string> {
  const installed = await findProgram('busybox')
  if (installed !== undefined && (await isStatic(installed))) return installed
  const packages = await debianPackages(cache, 'amd64', progress)
  const folder = await packages.unpacked('busybox-static')
  const paths = [join(folder, 'bin/busybox'), join(folder, 'usr/bin/busybox')]
  return paths.find((path) => existsSync(path)) ?? (paths[0] as string)
}

/** What is missing for a QEMU guest from what is installed, in words; `undefined` when nothing is. */
export async function qemuMissing(): Promise<string | undefined> {
  const missing = []
  if ((await findProgram('qemu-system-x86_64')) === undefined) missing.push('qemu-system-x86')
  if ((await installedKernel()) === undefined) missing.push('linux-image-cloud-amd64')
  if ((await findProgram('busybox')) === undefined) missing.push('busybox-static')
  if ((await findProgram('bash')) === undefined) missing.push('bash')
  return missing.length === 0 ? undefined : missing.join(', ')
}

/** What goes into the initramfs beside the guest's own system. */
export interface QemuFilesOptions {
  /** Paths of programs of this machine, with their libraries. */
  readonly programs?: readonly string[] | undefined
  /** Kernel modules, with what they depend on. Default those of the guest's devices. */
  readonly modules?: readonly string[] | undefined
}

/** Finds QEMU and a kernel, and builds the initramfs unless the cache has it. Rejects with `NETKIT_GUEST_UNAVAILABLE`. */
export async function qemuFiles(
  cache: string,
  progress: Progress,
  { programs: more = [], modules: wanted = WANTED_MODULES }: QemuFilesOptions = {},
): Promise<QemuFiles> {
  const qemu = await findProgram('qemu-system-x86_64')
  if (qemu === undefined) {
    throw guestUnavailable(
      'qemu',
      'qemu-system-x86_64 is not installed (Debian: apt-get install qemu-system-x86).',
    )
  }
  const bash = await findProgram('bash')
  if (bash === undefined)
    throw guestUnavailable('qemu', 'bash, which goes into the guest, is not installed.')
  const version = await runCommand(qemu, ['--version'], { timeoutMs: EXEC_TIMEOUT_MS })
  const qemuVersion = /version (\S+)/.exec(version.stdout.toString())?.[1] ?? 'of unknown version'
  try {
    const kernel = await cloudKernel(cache, progress)
    const busybox = await staticBusybox(cache, progress)
    const tools = await Promise.all(['ss', 'nstat'].map(findProgram))
    const programs = [...tools.filter((path) => path !== undefined), ...more]
    const inputs = [kernel.version, INIT_SCRIPT, UDHCPC_SCRIPT, ...wanted]
    for (const file of [kernel.image, busybox, bash, ...programs]) {
      const { size, mtimeMs } = await stat(file)
      inputs.push(`${file} ${size} ${mtimeMs}`)
    }
    const key = createHash('sha256').update(inputs.join('\0')).digest('hex').slice(0, 16)
    const folder = await cachedFolder(
      join(cache, 'qemu', `${kernel.version}-${key}`),
      async (draft) => {
        progress(`building an initramfs for Linux ${kernel.version}`)
        const { modules } = kernel
        const archive = await buildInitramfs({ modules, wanted, busybox, bash, programs })
        await writeFile(join(draft, 'initramfs.img'), archive)
      },
    )
    return {
      qemu,
      qemuVersion,
      kernelVersion: kernel.version,
      kernel: kernel.image,
      initramfs: join(folder, 'initramfs.img'),
    }
  } catch (error) {
    throw guestUnavailable('qemu', error instanceof Error ? error.message : String(error), error)
  }
}
