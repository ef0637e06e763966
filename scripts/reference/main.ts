/**
 * Writes docs/limits.md and docs/errors.md from the sources, so that they cannot disagree with them.
 *
 *   main.ts            writes the pages
 *   main.ts --check    fails when a page is not what the sources give
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { errorsPage } from './errors-page.ts'
import { limitsPage } from './limits-page.ts'
import { packageSources } from './sources.ts'

const root = new URL('../../', import.meta.url).pathname
const sources = packageSources(root)
const pages = { 'docs/limits.md': limitsPage(sources), 'docs/errors.md': errorsPage(sources) }

let stale = false
for (const [file, page] of Object.entries(pages)) {
  if (process.argv.includes('--check')) {
    if (readFileSync(root + file, 'utf8') === page) continue
    process.stderr.write(
      `${file} is not what the sources give. Run: npx --yes pnpm@12.21.0 reference\n`,
    )
    stale = true
  } else {
    writeFileSync(root + file, page)
  }
}
process.exitCode = stale ? 1 : 0
