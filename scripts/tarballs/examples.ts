/** The examples of a README in a project where the package is installed: type-checked there, emitted, run. */

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { examplesOfPage } from '../../test/repository/doc-examples.ts'
import type { Project } from './project.ts'

const execute = promisify(execFile)

/** One example. */
export interface ReadmeExample {
  readonly code: string
  /** The packages of netkit that it imports. */
  readonly imports: readonly string[]
}

/** Programs of a project: arguments for Node, relative to the project. */
export interface Programs {
  readonly commands: string[][]
  readonly problems: readonly string[]
}

/** The examples of a package's README that can be run. */
export function readmeExamples(root: string, short: string): readonly ReadmeExample[] {
  const page = readFileSync(join(root, 'packages', short, 'README.md'), 'utf8')
  return examplesOfPage(page, short).map(({ code }) => ({
    code,
    imports: Array.from(code.matchAll(/from '(@netkit\/[a-z]+)/g), ([, name = '']) => name),
  }))
}

/**
 * Type-checks the examples against the installed declarations, and emits them for the oldest Node that is supported
 * (which knows no `await using`).
 */
export async function emitExamples(
  root: string,
  { folder }: Project,
  examples: readonly ReadmeExample[],
): Promise<Programs> {
  const names = examples.map((_, index) => `example-${index + 1}`)
  for (const [index, { code }] of examples.entries())
    await writeFile(join(folder, `${names[index]}.ts`), code)
  if (names.length === 0) return { commands: [], problems: [] }
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        strict: true,
        target: 'es2023',
        lib: ['es2023', 'esnext.disposable'],
        module: 'nodenext',
        types: ['node'],
        noEmitOnError: false,
      },
      files: names.map((name) => `${name}.ts`),
    }),
  )
  const problems: string[] = []
  try {
    await execute(join(root, 'node_modules/.bin/tsc'), ['-p', folder])
  } catch (error) {
    problems.push((error as { stdout?: string }).stdout ?? String(error))
  }
  return { commands: names.map((name) => [`${name}.js`]), problems }
}

/** Runs a program; `undefined` when it ended well, and no assertion of it failed. */
export async function runProgram(
  node: string,
  command: readonly string[],
  cwd: string,
): Promise<string | undefined> {
  try {
    const { stderr } = await execute(node, [...command], { cwd, timeout: 60_000 })
    return stderr.includes('Assertion failed') ? stderr : undefined
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string }
    return `${message}\n${stderr}`
  }
}
