/** Packs the packages as they would be published, and looks at what is inside. */

import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** A package as a file that can be installed. */
export interface Tarball {
  /** `@netkit/dns` */
  readonly name: string
  /** `dns` */
  readonly short: string
  readonly path: string
  readonly version: string
  /** The `@netkit/…` packages that it brings along, those of its dependencies included. */
  readonly closure: ReadonlySet<string>
}

/** A package.json, as far as this script reads it. */
interface Manifest {
  readonly name: string
  readonly version: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly exports?: unknown
  readonly bin?: Readonly<Record<string, string>>
}

/** Packs every package of `packages/` into `scratch`; by name. */
export async function packAll(
  root: string,
  scratch: string,
): Promise<ReadonlyMap<string, Tarball>> {
  const folder = join(scratch, 'tarballs')
  await mkdir(folder)
  const manifests = new Map(
    readdirSync(join(root, 'packages')).map((short) => {
      const text = readFileSync(join(root, 'packages', short, 'package.json'), 'utf8')
      return [short, JSON.parse(text) as Manifest] as const
    }),
  )
  const closureOf = (name: string): string[] => {
    const direct = Object.keys(manifests.get(name.replace('@netkit/', ''))?.dependencies ?? {})
    const own = direct.filter((dependency) => dependency.startsWith('@netkit/'))
    return [...own, ...own.flatMap(closureOf)]
  }
  const tarballs = new Map<string, Tarball>()
  for (const [short, { name, version }] of manifests) {
    await execute('npx', ['--yes', 'pnpm@12.21.0', 'pack', '--pack-destination', folder], {
      cwd: join(root, 'packages', short),
    })
    const path = join(folder, `netkit-${short}-${version}.tgz`)
    tarballs.set(name, { name, short, path, version, closure: new Set(closureOf(name)) })
  }
  return tarballs
}

/** What is wrong with a tarball's contents. */
export async function tarballProblems(tarball: Tarball): Promise<string[]> {
  const { stdout: list } = await execute('tar', ['-tzf', tarball.path])
  const files = new Set(
    list
      .trim()
      .split('\n')
      .map((file) => file.replace(/^package\//, '')),
  )
  const { stdout: text } = await execute('tar', ['-xzOf', tarball.path, 'package/package.json'])
  const manifest = JSON.parse(text) as Manifest
  const named = [
    ...targetsOf(manifest.exports),
    ...Object.values(manifest.bin ?? {}),
    './LICENSE',
    './README.md',
  ]
  const problems = named
    .map((file) => file.replace(/^\.\//, ''))
    .filter((file) => !files.has(file))
    .map((file) => `${file} is named in package.json, or expected, and is not in the tarball`)
  for (const file of files) {
    if (/\.(test|bench)\.ts$|\.tsbuildinfo$|(^|\/)\.(turbo|generated)\//.test(file))
      problems.push(`${file} is in the tarball and is of no use to anybody who installs it`)
  }
  // Only a workspace resolves these; the condition would lead to sources that Node does not run inside node_modules.
  for (const left of ['workspace:', 'catalog:', '"netkit-source":']) {
    if (text.includes(left)) problems.push(`package.json still says ${left}`)
  }
  return problems
}

function targetsOf(exports: unknown): string[] {
  if (typeof exports === 'string') return [exports]
  if (typeof exports !== 'object' || exports === null) return []
  return Object.values(exports).flatMap(targetsOf)
}
