import type { Options } from 'tsup'

const base: Options = {
  entry: ['src/index.ts'],
  format: ['esm'],
  target: 'node22',
  sourcemap: true,
  clean: true,
}

export default base
