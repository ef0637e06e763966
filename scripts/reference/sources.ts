/** The sources of the packages, parsed. */

import { readFileSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import ts from 'typescript'

/** One source file of a package. */
export interface PackageSource {
  /** `core`, `frames`, … */
  readonly package: string
  /** Path from the repository's root. */
  readonly path: string
  readonly file: ts.SourceFile
}

/** All sources but tests and benches, in the order of their paths. */
export function packageSources(root: string): PackageSource[] {
  return readdirSync(join(root, 'packages'))
    .toSorted()
    .flatMap((name) =>
      readdirSync(join(root, 'packages', name, 'src'), { withFileTypes: true, recursive: true })
        .filter((entry) => entry.isFile() && /(?<!\.test|\.bench)\.ts$/.test(entry.name))
        .map((entry) => join(entry.parentPath, entry.name))
        .toSorted()
        .map((path) => ({
          package: name,
          path: relative(root, path),
          file: ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ESNext, true),
        })),
    )
}

/** The text of the doc comment in front of a node, as one paragraph; empty without one. */
export function docComment(node: ts.Node): string {
  const comment = ts.getJSDocCommentsAndTags(node).find((entry) => ts.isJSDoc(entry))
  const text = ts.getTextOfJSDocComment(comment?.comment) ?? ''
  return text.replaceAll(/\s+/g, ' ').trim()
}

/** Text inside a cell of a Markdown table. */
export function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}
