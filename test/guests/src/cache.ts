/**
 * Where kernels, packages and snapshots are kept between runs: `$NETKIT_CACHE`, else `$XDG_CACHE_HOME/netkit`, else
 * `~/.cache/netkit`. Everything in it can be deleted at any time and is made again.
 */

import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** The cache folder, which may not exist yet. */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  if (environment['NETKIT_CACHE']) return environment['NETKIT_CACHE']
  return join(environment['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'netkit')
}

/**
 * Fills `folder` on first use, and gives it. It appears complete or not at all: `fill` works in a
 * temporary folder beside it, so a crash or a second process leaves no half-made entry.
 */
export async function cachedFolder(
  folder: string,
  fill: (draft: string) => Promise<void>,
): Promise<string> {
  if (existsSync(folder)) return folder
  await mkdir(join(folder, '..'), { recursive: true })
  const draft = await mkdtemp(`${folder}.draft-`)
  try {
    await fill(draft)
    try {
      await rename(draft, folder)
    } catch (error) {
      // Another process was faster; its folder is as good as ours.
      if (!existsSync(folder)) throw error
    }
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
  return folder
}
