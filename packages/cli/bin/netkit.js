#!/usr/bin/env node
import { existsSync, readFileSync } from 'node:fs'

// An older Node would fail somewhere inside a dependency, with a message that helps nobody.
const { engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
const oldest = engines.node.replace('>=', '')
const isOlder = process.versions.node.localeCompare(oldest, 'en', { numeric: true }) < 0
// In a checkout the command exists before the build does.
const program = new URL('../dist/main.js', import.meta.url)
if (isOlder) {
  process.stderr.write(
    `netkit needs Node ${oldest} or newer, and this is ${process.versions.node} (${process.execPath}). In a checkout: npx --yes pnpm@12.21.0 exec netkit …\n`,
  )
  process.exitCode = 1
} else if (existsSync(program)) {
  await import(program.href)
} else {
  process.stderr.write('netkit is not built yet. Run: npx --yes pnpm@12.21.0 build\n')
  process.exitCode = 1
}
