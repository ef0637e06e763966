/**
 * Names at the end of a run what did not run, and why. A test that is skipped says its reason: `ctx.skip('no lsof here')`, or
 * `{ skip: why !== undefined, meta: { skipReason: why } }` for a whole `describe`. One that is skipped without a word fails the run.
 */

import type { Reporter, TestCase, TestModule, TestSuite, Vitest } from 'vitest/node'

declare module 'vitest' {
  interface TaskMeta {
    /** Why the test or suite cannot run here. */
    skipReason?: string | undefined
  }
}

/** The reason of the test, or of the nearest suite around it that has one. */
function reasonOf(test: TestCase): string | undefined {
  const result = test.result()
  if (result.state === 'skipped' && result.note !== undefined) return result.note
  for (let at: TestCase | TestSuite | TestModule = test; at.type !== 'module'; at = at.parent) {
    const { skipReason } = at.meta()
    if (skipReason !== undefined) return skipReason
  }
  return undefined
}

/** The reporter; beside vitest's default one. */
export class SkippedTests implements Reporter {
  /** A run of some tests by name skips the others, and needs no reason. */
  #chosen = false

  onInit(vitest: Vitest): void {
    this.#chosen = vitest.config.testNamePattern !== undefined
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    if (this.#chosen) return
    const reasons = new Map<string, string[]>()
    const silent: string[] = []
    for (const module of modules) {
      for (const test of module.children.allTests('skipped')) {
        const name = `${module.project.name}/${module.relativeModuleId} > ${test.fullName}`
        const reason = reasonOf(test)
        if (reason === undefined) silent.push(name)
        else reasons.set(reason, [...(reasons.get(reason) ?? []), name])
      }
    }
    for (const [reason, names] of reasons)
      process.stderr.write(`\nNOT TESTED, because ${reason}:\n${lines(names)}`)
    if (silent.length === 0) return
    process.stderr.write(`\nSKIPPED WITHOUT A REASON, which fails the run:\n${lines(silent)}`)
    process.exitCode = 1
  }
}

const lines = (names: readonly string[]): string => names.map((name) => `  ${name}\n`).join('')
