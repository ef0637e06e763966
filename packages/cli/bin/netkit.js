#!/usr/bin/env node
import { existsSync } from 'node:fs'

// In a checkout the command exists before the build does.
const program = new URL('../dist/main.js', import.meta.url)
if (existsSync(program)) {
  await import(program.href)
} else {
  process.stderr.write('netkit is not built yet. Run: npx --yes pnpm@12.21.0 build\n')
  process.exitCode = 1
}
