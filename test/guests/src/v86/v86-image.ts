/**
 * What a v86 guest starts from: Debian's i386 kernel (the "686" flavour: v86 has no PAE), an initramfs, a BIOS, and a snapshot of
 * the booted system. Made once, from Debian packages, into the cache; never part of a package, because the kernel and busybox
 * are under the GPL.
 */

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { copyFile, readFile, readdir, rename, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { cachedFolder } from '../cache.ts'
import { guestUnavailable, type Progress } from '../guest.ts'
import { debianPackages } from '../linux/debian-packages.ts'
import { INIT_SCRIPT, UDHCPC_SCRIPT } from '../linux/guest-scripts.ts'
import { buildInitramfs } from '../linux/initramfs.ts'
import { V86_MEMORY_MIB } from '../limits.ts'

/** The files of an image. */
export interface V86Image {
  readonly folder: string
  readonly kernel: string
  readonly initramfs: string
  readonly bios: string
  readonly vgaBios: string
  /** The booted system; exists after the first boot. */
  readonly snapshot: string
  readonly wasm: string
}

/** The emulator's own version: a snapshot of one cannot be trusted in another. */
async function emulator(): Promise<{ version: string; wasm: string }> {
  const entry = createRequire(import.meta.url).resolve('v86')
  const wasm = join(dirname(entry), 'v86.wasm')
  const { version } = JSON.parse(
    await readFile(join(dirname(entry), '..', 'package.json'), 'utf8'),
  ) as { version: string }
  return { version, wasm }
}

/** The first of `paths` below `folder` that exists. */
function existing(folder: string, ...paths: string[]): string {
  const found = paths.map((path) => join(folder, path)).find((path) => existsSync(path))
  if (found === undefined) throw new Error(`${folder} has none of ${paths.join(', ')}.`)
  return found
}

async function fillImage(cache: string, folder: string, progress: Progress): Promise<void> {
  const packages = await debianPackages(cache, 'i386', progress)
  const kernel = await packages.unpacked(await packages.behind('linux-image-686'))
  const busybox = await packages.unpacked('busybox-static')
  const bash = await packages.unpacked('bash-static')
  const seabios = await packages.unpacked('seabios')
  const boot = existing(kernel, 'boot')
  const image = (await readdir(boot)).find((file) => file.startsWith('vmlinuz-'))
  if (image === undefined) throw new Error(`No kernel image was found in ${boot}.`)
  const version = image.slice('vmlinuz-'.length)
  progress(`building an initramfs for Linux ${version}`)
  const archive = await buildInitramfs({
    modules: existing(kernel, `lib/modules/${version}`, `usr/lib/modules/${version}`),
    busybox: existing(busybox, 'bin/busybox', 'usr/bin/busybox'),
    bash: existing(bash, 'bin/bash-static', 'usr/bin/bash-static'),
  })
  await writeFile(join(folder, 'initramfs.img'), archive)
  await copyFile(join(boot, image), join(folder, 'vmlinuz'))
  const bios = existing(seabios, 'usr/share/seabios')
  await copyFile(join(bios, 'bios.bin'), join(folder, 'bios.bin'))
  await copyFile(join(bios, 'vgabios-isavga.bin'), join(folder, 'vgabios.bin'))
}

/** Where the image is, or will be: its key holds all that a snapshot depends on. */
async function imageAt(cache: string): Promise<V86Image> {
  const { version, wasm } = await emulator()
  const key = createHash('sha256')
    .update([version, V86_MEMORY_MIB, INIT_SCRIPT, UDHCPC_SCRIPT].join('\0'))
    .digest('hex')
    .slice(0, 16)
  const folder = join(cache, 'v86', key)
  return {
    folder,
    kernel: join(folder, 'vmlinuz'),
    initramfs: join(folder, 'initramfs.img'),
    bios: join(folder, 'bios.bin'),
    vgaBios: join(folder, 'vgabios.bin'),
    snapshot: join(folder, 'snapshot.bin'),
    wasm,
  }
}

/**
 * The image, built when the cache has none. Rejects with `NETKIT_GUEST_UNAVAILABLE` where neither the cache nor Debian's archive
 * has what it takes.
 */
export async function v86Image(cache: string, progress: Progress): Promise<V86Image> {
  try {
    const image = await imageAt(cache)
    await cachedFolder(image.folder, (draft) => fillImage(cache, draft, progress))
    return image
  } catch (error) {
    throw guestUnavailable('v86', error instanceof Error ? error.message : String(error), error)
  }
}

/** Whether a v86 guest can start without a download. */
export async function v86IsBuilt(cache: string): Promise<boolean> {
  return existsSync((await imageAt(cache)).snapshot)
}

/** Keeps the snapshot: complete or not at all. */
export async function keepSnapshot(image: V86Image, state: ArrayBuffer): Promise<void> {
  const draft = `${image.snapshot}.${process.pid}`
  await writeFile(draft, new Uint8Array(state))
  await rename(draft, image.snapshot)
}
