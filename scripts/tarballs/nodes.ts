/** The Node versions that the packages are run on, from npm's packages of Node itself. */

import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** One Node. */
export interface ExampleNode {
  /** `Node 22` */
  readonly name: string
  readonly path: string
}

/** The oldest that is supported, the one that the repository is developed with, and the newest. */
const lines = ['22', '24', '26']

/** Installs them into `scratch`; pnpm's store keeps them between runs. */
export async function nodesForExamples(scratch: string): Promise<readonly ExampleNode[]> {
  const folder = join(scratch, 'nodes')
  const platform = `node-linux-${process.arch}`
  await mkdir(folder)
  const dependencies = Object.fromEntries(
    lines.map((line) => [`node${line}`, `npm:${platform}@^${line}`]),
  )
  await writeFile(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'nodes', private: true, dependencies }),
  )
  await promisify(execFile)(
    'npx',
    ['--yes', 'pnpm@12.21.0', 'install', '--ignore-workspace', '--ignore-scripts'],
    { cwd: folder },
  )
  return lines.map((line) => ({
    name: `Node ${line}`,
    path: join(folder, 'node_modules', `node${line}`, 'bin', 'node'),
  }))
}
