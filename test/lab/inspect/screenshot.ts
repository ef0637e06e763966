/**
 * Writes docs/inspect.png: the page with a thousand flows.
 *
 * Usage: pnpm exec node --conditions=netkit-source test/lab/inspect/screenshot.ts [--dark] [file]
 *
 * Needs Debian's chromium.
 */

import { parseArgs } from 'node:util'
import { hostNetwork } from '@netkit/core/node'
import { serveInspector } from '@netkit/guestnet/inspect'
import { openBrowser } from './browser.ts'
import { shownNetwork } from './shown-network.ts'

/** Seconds that the graphs get something to draw. */
const SECONDS = 14

const { values, positionals } = parseArgs({
  options: { dark: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const path = positionals[0] ?? new URL('../../../docs/inspect.png', import.meta.url).pathname
await using shown = await shownNetwork()
const { network, capture } = shown
await using inspector = await serveInspector({ network, host: hostNetwork(), capture })
await using browser = await openBrowser('/usr/bin/chromium', {
  colorScheme: values.dark ? 'dark' : 'light',
})
const page = await browser.context.newPage()
await page.setViewportSize({ width: 1120, height: 640 })
await page.goto(inspector.url)
for (const name of ['www.example.com', 'registry.example.com', 'api.corp.test'])
  await shown.resolve(name)
await shown.resolve('pastebin.example.net')
for (let second = 0; second < SECONDS; second++) {
  await shown.open(72)
  await shown.resolve('www.example.com', second % 3 === 0 ? 'AAAA' : 'A')
  await shown.talk(100_000 + 60_000 * (second % 5))
  if (second % 6 === 2) await shown.visit('203.0.113.99', 443)
  if (second === 4) await shown.visit('169.254.169.254', 80)
  await page.waitForTimeout(1000)
}
await page.screenshot({ path, scale: 'css' })
process.stdout.write(`${path}\n`)
