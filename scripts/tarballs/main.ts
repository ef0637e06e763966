/**
 * Shows that what would be published works where it is installed: every package is packed, its tarball is installed into an
 * empty project by npm and by pnpm, and the examples of its README are type-checked there and run on each Node that is supported.
 *
 *   main.ts [package…]     all packages, or these
 *
 * ```
 *   packages/* ──pnpm pack──▶ *.tgz ──npm, pnpm install──▶ an empty project ──tsc──▶ example.js ──▶ Node 22, 24, 26
 *                  │
 *                  └─ contents: what the exports name is there; tests, `workspace:` and `catalog:` are not
 * ```
 *
 * Needs a build, the npm registry, and Linux. Prints a table; exit status 1 when anything failed.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nodesForExamples } from './nodes.ts'
import { packAll, tarballProblems, type Tarball } from './pack.ts'
import { installProject, type Client, type Project } from './project.ts'
import { emitExamples, readmeExamples, runProgram } from './examples.ts'

const root = new URL('../../', import.meta.url).pathname
const wanted = process.argv.slice(2)
const clients: readonly Client[] = ['npm', 'pnpm']

/** What failed, with enough of it to act on. */
const failures: string[] = []
const fail = (where: string, what: string): void => void failures.push(`${where}: ${what}`)

const scratch = await mkdtemp(join(tmpdir(), 'netkit-tarballs-'))
try {
  const tarballs = await packAll(root, scratch)
  const nodes = await nodesForExamples(scratch)
  process.stdout.write(
    `${'package'.padEnd(20)}${clients.map((client) => client.padEnd(6)).join('')}${nodes.map(({ name }) => name.padEnd(9)).join('')}\n`,
  )
  for (const tarball of tarballs.values()) {
    if (wanted.length === 0 || wanted.includes(tarball.short)) await checkPackage(tarball)
  }

  async function checkPackage(tarball: Tarball): Promise<void> {
    const { name, short } = tarball
    for (const problem of await tarballProblems(tarball)) fail(name, problem)
    const examples = readmeExamples(root, short)
    const cells: string[] = []
    let project: Project | undefined
    for (const client of clients) {
      const installed = await installProject({
        folder: join(scratch, `${short}-${client}`),
        client,
        tarball,
        tarballs,
        imports: examples.flatMap(({ imports }) => imports),
      })
      for (const problem of installed.problems) fail(`${name} by ${client}`, problem)
      cells.push((installed.problems.length === 0 ? 'ok' : 'FAILED').padEnd(6))
      project ??= installed
    }
    if (project === undefined) return
    const programs = await emitExamples(root, project, examples)
    for (const problem of programs.problems) fail(`${name} README`, problem)
    if (short === 'cli') {
      programs.commands.push(['node_modules/@netkit/cli/bin/netkit.js', '--help'])
      programs.commands.push([
        'node_modules/@netkit/cli/bin/netkit.js',
        'explain',
        'dns',
        'localhost',
      ])
    }
    for (const node of nodes) {
      let passed = true
      for (const command of programs.commands) {
        const problem = await runProgram(node.path, command, project.folder)
        if (problem === undefined) continue
        passed = false
        fail(`${name} on ${node.name}, ${command.join(' ')}`, problem)
      }
      cells.push((passed ? `${programs.commands.length} run` : 'FAILED').padEnd(9))
    }
    process.stdout.write(`${name.padEnd(20)}${cells.join('')}\n`)
  }
} finally {
  await rm(scratch, { recursive: true, force: true })
}
for (const failure of failures) process.stderr.write(`\n${failure}\n`)
process.exitCode = failures.length === 0 ? 0 : 1
