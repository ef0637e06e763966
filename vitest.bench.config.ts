import { defineConfig } from 'vitest/config'

/** Benchmarks run as Node runs them, from the sources: vitest's module runner would add a getter to each imported name. */
export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.bench.ts'],
    execArgv: ['--conditions=netkit-source'],
    experimental: { viteModuleRunner: false },
    maxWorkers: 1,
  },
})
