/** The little that a suite asks of a test runner, so that vitest, jest, mocha and `node:test` all can run it. */

/** `describe` and `test` of a test runner. */
export interface ComplianceRunner {
  describe(name: string, body: () => void): unknown
  test(name: string, body: () => Promise<void>): unknown
}

/** A test that an implementation cannot pass, and why; the reason is part of the test's name. */
export interface ComplianceSkip {
  readonly test: string
  readonly reason: string
}

/** What every suite takes: how to make the subject, and what it cannot do. */
export interface ComplianceOptions<Subject> {
  /** Shown as the name of the suite. */
  readonly name: string
  /** Makes the subject; called before every test. */
  setup(): Subject | Promise<Subject>
  /** Ends it; called after every test, also a failed one. */
  teardown?(subject: Subject): void | Promise<void>
  readonly skip?: readonly ComplianceSkip[]
}

/** Defines a suite: every case gets its own subject. */
export function defineSuite<Subject>(
  runner: ComplianceRunner,
  contract: string,
  options: ComplianceOptions<Subject>,
  cases: Readonly<Record<string, (subject: Subject) => Promise<void> | void>>,
): void {
  const skips = new Map(options.skip?.map(({ test, reason }) => [test, reason]))
  for (const name of skips.keys()) {
    if (!(name in cases)) throw new Error(`The ${contract} suite has no test '${name}' to skip.`)
  }
  runner.describe(`${contract} compliance: ${options.name}`, () => {
    for (const [name, run] of Object.entries(cases)) {
      const reason = skips.get(name)
      if (reason !== undefined) {
        runner.test(`${name} (not applicable: ${reason})`, async () => {})
        continue
      }
      runner.test(name, async () => {
        const subject = await options.setup()
        try {
          await run(subject)
        } finally {
          await options.teardown?.(subject)
        }
      })
    }
  })
}
