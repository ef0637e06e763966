import { defineConfig } from 'tsup'
import base from '../../tsup.config.base.ts'

export default defineConfig({
  ...base,
  entry: ['src/index.ts', 'src/tap/index.ts', 'src/dgram/index.ts', 'src/compliance/index.ts'],
})
