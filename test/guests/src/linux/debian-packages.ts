/**
 * Files out of Debian packages, without installing them and without root: a package list of its own in the cache folder (the
 * system's is neither read nor changed), `apt-get download`, `dpkg-deb -x`. apt checks the archive's signatures as ever.
 */

import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { NetkitError } from '@netkit/core'
import { cachedFolder } from '../cache.ts'
import type { Progress } from '../guest.ts'
import { PACKAGE_TIMEOUT_MS } from '../limits.ts'
import { requireCommand, runCommand, type CommandResult } from '../run-command.ts'

/** A source of unpacked Debian packages of one architecture. */
export interface DebianPackages {
  /** The newest package's folder, unpacked. Rejects with `NETKIT_PACKAGES_UNAVAILABLE`. */
  unpacked(name: string): Promise<string>
  /** The package that the metapackage `name` stands for (its first dependency). */
  behind(name: string): Promise<string>
}

function unavailable(what: string, cause?: unknown): NetkitError {
  return new NetkitError(
    'NETKIT_PACKAGES_UNAVAILABLE',
    `${what} could not be had from Debian's archive. This needs apt-get and dpkg-deb, and a Debian archive in /etc/apt that can be reached.`,
    cause === undefined ? undefined : { cause },
  )
}

/** Opens the archive that this machine's apt is set up with, for `architecture` (`amd64`, `i386`, …). */
export async function debianPackages(
  cache: string,
  architecture: string,
  progress: Progress,
): Promise<DebianPackages> {
  const apt = join(cache, 'apt', architecture)
  await mkdir(join(apt, 'lists', 'partial'), { recursive: true })
  await mkdir(join(apt, 'archives', 'partial'), { recursive: true })
  const settings = {
    'Dir::State::lists': join(apt, 'lists'),
    'Dir::Cache::archives': join(apt, 'archives'),
    'Dir::Cache::pkgcache': '',
    'Dir::Cache::srcpkgcache': '',
    'APT::Architecture': architecture,
    'APT::Architectures': architecture,
    // As root, apt would drop to a user who cannot write the cache folder, and warn.
    'APT::Sandbox::User': 'root',
  }
  const options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`])
  const run = async (
    program: 'apt-get' | 'apt-cache',
    args: string[],
    cwd: string,
  ): Promise<CommandResult> => {
    try {
      return await runCommand(program, [...options, ...args], {
        cwd,
        timeoutMs: PACKAGE_TIMEOUT_MS,
      })
    } catch (error) {
      throw unavailable(args.join(' '), error)
    }
  }
  let refreshed: Promise<void> | undefined
  const refresh = (): Promise<void> =>
    (refreshed ??= (async (): Promise<void> => {
      progress(`reading Debian's package list (${architecture})`)
      // One broken source of several makes apt-get fail; whether the packages are there shows next.
      await run('apt-get', ['update'], apt)
    })())

  return {
    async behind(name) {
      await refresh()
      const { stdout } = await run('apt-cache', ['depends', '--important', name], apt)
      const found = /Depends: (\S+)/.exec(stdout.toString())?.[1]
      if (found === undefined) throw unavailable(`The package behind ${name} (${architecture})`)
      return found.split(':', 1).join('')
    },
    unpacked: (name) =>
      cachedFolder(join(cache, 'debian', `${name}-${architecture}`), async (folder) => {
        await refresh()
        progress(`downloading ${name} (${architecture})`)
        const download = await run('apt-get', ['download', name], folder)
        const file = (await readdir(folder)).find((entry) => entry.endsWith('.deb'))
        if (file === undefined)
          throw unavailable(`${name} (${architecture})`, new Error(download.stderr.trim()))
        await requireCommand('dpkg-deb', ['-x', file, '.'], {
          cwd: folder,
          timeoutMs: PACKAGE_TIMEOUT_MS,
        })
        await rm(join(folder, file))
      }),
  }
}
