/** An empty project into which a tarball is installed, as somebody who never saw the repository does it. */

import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Tarball } from './pack.ts'

/** What installs. */
export type Client = 'npm' | 'pnpm'

/** A project with its packages installed. */
export interface Project {
  readonly folder: string
  readonly problems: readonly string[]
}

/** What `installProject` needs. */
export interface ProjectOptions {
  readonly folder: string
  readonly client: Client
  /** The package in question. */
  readonly tarball: Tarball
  /** All of them, by name: where the others come from as long as no registry has them. */
  readonly tarballs: ReadonlyMap<string, Tarball>
  /** Packages of netkit that the README's examples import beside it; a reader installs these too. */
  readonly imports: readonly string[]
}

const install: Readonly<Record<Client, readonly string[]>> = {
  npm: ['npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'],
  pnpm: ['npx', '--yes', 'pnpm@12.21.0', 'install', '--ignore-scripts', '--prefer-offline'],
}

/** Makes the project and installs into it; what goes wrong is in `problems`. */
export async function installProject(options: ProjectOptions): Promise<Project> {
  const { folder, client, tarball, tarballs, imports } = options
  const file = (name: string): string => `file:${tarballs.get(name)?.path ?? name}`
  const direct = new Set([tarball.name, ...imports])
  const overrides = Object.fromEntries([...tarballs.keys()].map((name) => [name, file(name)]))
  await mkdir(folder)
  await writeFile(
    join(folder, 'package.json'),
    JSON.stringify({
      name: 'reader',
      private: true,
      type: 'module',
      dependencies: Object.fromEntries([...direct].map((name) => [name, file(name)])),
      // What the examples are type-checked with; a program has Node's types.
      devDependencies: { '@types/node': '^22' },
      ...(client === 'npm' && { overrides }),
    }),
  )
  if (client === 'pnpm')
    await writeFile(join(folder, 'pnpm-workspace.yaml'), JSON.stringify({ overrides }))
  const [program = '', ...args] = install[client]
  try {
    await promisify(execFile)(program, args, { cwd: folder, timeout: 180_000 })
  } catch (error) {
    return { folder, problems: [`the installation failed: ${String(error)}`] }
  }
  const expected = new Set(
    [...direct].flatMap((name) => [name, ...(tarballs.get(name)?.closure ?? [])]),
  )
  return { folder, problems: differences(expected, installedOf(folder)) }
}

/** What somebody gets who installs the package: its dependencies as they are declared, and nothing else of ours. */
function installedOf(folder: string): ReadonlySet<string> {
  // npm: all of them side by side. pnpm: links to the direct ones, all of them in its own folder.
  const flat = join(folder, 'node_modules', '@netkit')
  const virtual = join(folder, 'node_modules', '.pnpm', 'node_modules', '@netkit')
  const names = [flat, virtual].flatMap((at) => (existsSync(at) ? readdirSync(at) : []))
  return new Set(names.map((name) => `@netkit/${name}`))
}

function differences(expected: ReadonlySet<string>, installed: ReadonlySet<string>): string[] {
  return [
    ...[...expected].filter((name) => !installed.has(name)).map((name) => `${name} is missing`),
    ...[...installed]
      .filter((name) => !expected.has(name))
      .map((name) => `${name} was installed and is no dependency`),
  ]
}
