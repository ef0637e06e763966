/**
 * Finds a kernel for a guest: an installed one that can be read, else one out of a Debian package that is only unpacked.
 */

import { constants } from 'node:fs'
import { access, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Progress } from '../guest.ts'
import { debianPackages } from './debian-packages.ts'

/** A kernel image and its modules. */
export interface GuestKernel {
  readonly version: string
  /** bzImage. */
  readonly image: string
  /** `/lib/modules/<version>`, or the same folder of an unpacked package. */
  readonly modules: string
}

const CLOUD_KERNEL = /^vmlinuz-(.+-cloud-amd64)$/

async function readable(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}

/** Newest first, as people order versions. */
function newestFirst(versions: string[]): string[] {
  const order = new Intl.Collator('en', { numeric: true })
  return versions.toSorted((a, b) => order.compare(b, a))
}

/** The newest cloud kernel below `root` whose image and modules can be read (Ubuntu keeps images at mode 0600). */
export async function installedKernel(root = '/'): Promise<GuestKernel | undefined> {
  const files = await readdir(join(root, 'boot')).catch(() => [])
  const versions = files.flatMap((file) => CLOUD_KERNEL.exec(file)?.[1] ?? [])
  for (const version of newestFirst(versions)) {
    const image = join(root, 'boot', `vmlinuz-${version}`)
    for (const modules of [
      join(root, 'lib/modules', version),
      join(root, 'usr/lib/modules', version),
    ]) {
      if ((await readable(image)) && (await readable(join(modules, 'kernel'))))
        return { version, image, modules }
    }
  }
  return undefined
}

/** The installed cloud kernel, else Debian's newest, unpacked into the cache. Rejects with `NETKIT_PACKAGES_UNAVAILABLE`. */
export async function cloudKernel(cache: string, progress: Progress): Promise<GuestKernel> {
  const installed = await installedKernel()
  if (installed !== undefined) return installed
  const packages = await debianPackages(cache, 'amd64', progress)
  const folder = await packages.unpacked(await packages.behind('linux-image-cloud-amd64'))
  const unpacked = await installedKernel(folder)
  if (unpacked === undefined) throw new Error(`No kernel image was found in ${folder}.`)
  return unpacked
}
