/**
 * Runs the tests that docs/conformance.md names and says which of them do not exist, did not run or did not pass, and which of
 * RFC 9293's numbered MUSTs the page forgets. Exit code 1 if there is any.
 */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PAGE = 'docs/conformance.md'
/** RFC 9293, appendix B. */
const LAST_MUST = 69

interface Report {
  testResults: { name: string; assertionResults: { title: string; status: string }[] }[]
}

/** Where the page's short paths lead. */
function fileOf(path: string): string {
  if (path.startsWith('frames/')) return `packages/frames/src/${path.slice('frames/'.length)}`
  return path.startsWith('test/') ? `packages/tcpip/${path}` : `packages/tcpip/src/${path}`
}

const root = new URL('..', import.meta.url).pathname
const page = readFileSync(join(root, PAGE), 'utf8')
const problems: string[] = []

for (let number = 1; number <= LAST_MUST; number++) {
  if (!page.includes(`| MUST-${number} `)) {
    problems.push(`MUST-${number} is not on the page`)
  }
}
for (const line of page.split('\n')) {
  if (!/^\| (MUST|SHLD|MAY)-\d+ /.test(line)) continue
  if (!line.includes(' › ') && !/Not (supported|applicable), because/.test(line)) {
    problems.push(`a row has neither a test nor a reason: ${line}`)
  }
}

const named = new Map<string, Set<string>>()
for (const [, path, title] of page.matchAll(/`([\w/.-]+[.]test[.]ts) › ([^`]+)`/g)) {
  if (path === undefined || title === undefined) continue
  const file = fileOf(path)
  named.set(file, (named.get(file) ?? new Set()).add(title))
}

const folder = mkdtempSync(join(tmpdir(), 'netkit-conformance-'))
const output = join(folder, 'report.json')
spawnSync(
  process.execPath,
  [
    'node_modules/vitest/vitest.mjs',
    'run',
    ...named.keys(),
    '--reporter=json',
    `--outputFile=${output}`,
  ],
  { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] },
)
const report = JSON.parse(readFileSync(output, 'utf8')) as Report
rmSync(folder, { recursive: true })

let shown = 0
for (const [file, titles] of named) {
  const results = report.testResults.find(({ name }) => name.endsWith(`/${file}`))?.assertionResults
  for (const title of titles) {
    const result = results?.find((test) => test.title === title)
    if (result === undefined) problems.push(`no such test: ${file} › ${title}`)
    else if (result.status !== 'passed') problems.push(`${result.status}: ${file} › ${title}`)
    else shown++
  }
}

for (const problem of problems) console.error(problem)
console.log(`${PAGE}: ${shown} tests named there passed, ${problems.length} problems`)
process.exitCode = problems.length > 0 ? 1 : 0
