import { defineConfig } from 'tsup'
import base from '../../tsup.config.base.ts'

export default defineConfig({
  ...base,
  entry: ['src/index.ts', 'src/http/index.ts', 'src/node/index.ts', 'src/compliance/index.ts'],
})
