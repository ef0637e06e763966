import { defineConfig } from 'vitest/config'
import { SkippedTests } from '../reporter/skipped-tests.ts'

// Tests resolve workspace packages to their sources, so no build is needed first.
const conditions = ['netkit-source']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  // What global setup runs in.
  environments: { __vitest__: { resolve: { conditions } } },
  test: {
    name: 'lab',
    root: import.meta.dirname,
    include: ['*.test.ts'],
    reporters: ['default', new SkippedTests()],
    globalSetup: './guest-availability.ts',
    // An emulated guest takes a whole core: one at a time.
    fileParallelism: false,
    // A busy machine doubles everything; a guest that is stuck fails by its own, shorter limits.
    testTimeout: 240_000,
    hookTimeout: 240_000,
  },
})
