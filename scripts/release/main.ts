/**
 * Rehearses a release in a clone of the last commit: changesets become versions and changelogs, then everything is published
 * except for the last step. Nothing here changes the repository, and nothing is sent to a registry.
 *
 * Fails when a change would be released without a word about it: a package with a new version and no changelog entry, a changeset
 * that is left over, or a package that publishing would skip.
 */

import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const root = new URL('../../', import.meta.url).pathname
const clone = await mkdtemp(join(tmpdir(), 'netkit-release-'))

async function run(program: string, ...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(program, [...args], { cwd: clone })
  return stdout + stderr
}
const pnpm = (...args: readonly string[]): Promise<string> =>
  run('npx', '--yes', 'pnpm@12.21.0', ...args)

/** Each package's version, as `name@version`. */
const versions = (): readonly string[] =>
  readdirSync(join(clone, 'packages')).map((short) => {
    const text = readFileSync(join(clone, 'packages', short, 'package.json'), 'utf8')
    const { name, version } = JSON.parse(text) as { name: string; version: string }
    return `${name}@${version}`
  })

const problems: string[] = []
try {
  await run('git', 'clone', '--quiet', '--depth=1', `file://${root}`, '.')
  await pnpm('install', '--frozen-lockfile', '--prefer-offline')
  const before = new Set(versions())
  await pnpm('exec', 'changeset', 'version')
  const moved = versions().filter((version) => !before.has(version))

  const left = readdirSync(join(clone, '.changeset')).filter(
    (file) => file.endsWith('.md') && file !== 'README.md',
  )
  for (const file of left) problems.push(`.changeset/${file} was not taken into a version`)
  const published = await pnpm('publish', '--recursive', '--dry-run', '--no-git-checks')
  for (const version of moved) {
    const [, short = '', number = ''] = /^@netkit\/(.+)@(.+)$/.exec(version) ?? []
    const changelog = join(clone, 'packages', short, 'CHANGELOG.md')
    if (!existsSync(changelog) || !readFileSync(changelog, 'utf8').includes(`## ${number}\n`))
      problems.push(`${version} has no entry in its CHANGELOG.md`)
    if (!published.includes(version)) problems.push(`${version} would not be published`)
  }
  process.stdout.write(
    moved.length === 0
      ? 'No changeset waits; a release would change nothing.\n'
      : `A release would publish ${moved.join(', ')}\n`,
  )
} finally {
  await rm(clone, { recursive: true, force: true })
}
for (const problem of problems) process.stderr.write(`${problem}\n`)
process.exitCode = problems.length === 0 ? 0 : 1
