import { defineConfig } from 'vitest/config'

// `failing` is run by failure.test.ts, which looks at what it leaves.
export default defineConfig({ test: { include: ['*.test.ts'] } })
