/**
 * Finds the examples that the documentation promises: the ```ts fences after `@example` in doc comments, and the ```ts
 * fences of every README and docs page. A fence that says ```ts no-run is shown to people only (it needs a VM, root, …).
 */

import { readFileSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'

/** One runnable example. */
export interface DocExample {
  /** File and line of the fence. */
  readonly name: string
  readonly code: string
}

const fence = /^([ \t]*)```ts[ \t]*\n([\s\S]*?)^[ \t]*```/gm

function fencesOf(text: string, where: string): DocExample[] {
  return Array.from(text.matchAll(fence), (match) => ({
    name: `${where}:${text.slice(0, match.index).split('\n').length}`,
    code: match[2] ?? '',
  }))
}

/** The examples of a TypeScript source: each doc comment's text behind `@example`. */
export function examplesOfSource(source: string, where: string): DocExample[] {
  const examples: DocExample[] = []
  for (const comment of source.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    const at = comment[0].indexOf('@example')
    if (at < 0) continue
    const text = comment[0].slice(at).replaceAll(/^[ \t]*\* ?/gm, '')
    const line = source.slice(0, comment.index + at).split('\n').length
    for (const example of fencesOf(text, where))
      examples.push({ ...example, name: `${where}:${line}` })
  }
  return examples
}

/** The examples of a Markdown page. */
export function examplesOfPage(page: string, where: string): DocExample[] {
  return fencesOf(page, where)
}

function files(folder: string, wanted: (name: string) => boolean): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter(
      (entry) =>
        entry.isFile() && wanted(entry.name) && !/node_modules|dist/.test(entry.parentPath),
    )
    .map((entry) => join(entry.parentPath, entry.name))
}

/** All examples of the repository at `root`. */
export function examplesOfRepository(root: string): DocExample[] {
  const packages = readdirSync(join(root, 'packages')).map((name) => join(root, 'packages', name))
  const sources = packages.flatMap((folder) =>
    files(join(folder, 'src'), (name) => name.endsWith('.ts') && !/\.(test|bench)\.ts$/.test(name)),
  )
  const pages = [
    join(root, 'README.md'),
    ...packages.flatMap((folder) => files(folder, (name) => name === 'README.md')),
    ...files(join(root, 'docs'), (name) => name.endsWith('.md')),
  ].filter((page) => !page.includes('/docs/api/'))
  return [
    ...sources.flatMap((file) =>
      examplesOfSource(readFileSync(file, 'utf8'), relative(root, file)),
    ),
    ...pages.flatMap((file) => examplesOfPage(readFileSync(file, 'utf8'), relative(root, file))),
  ]
}
