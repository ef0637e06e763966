/**
 * Serves the page on the loopback and opens it in headless Chromium, which must show what a person would see.
 *
 * `--hold` leaves the page there for your own browser; `--screenshot FILE` keeps a picture.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { V86_MEMORY_MIB, v86Snapshot } from '@netkit/guests'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'

const { values } = parseArgs({
  options: { hold: { type: 'boolean', default: false }, screenshot: { type: 'string' } },
})
const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

const bundle = await build({
  entryPoints: [new URL('page.ts', import.meta.url).pathname],
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'browser',
  // v86 looks for these when it runs in Node.
  external: ['node:*', 'fs', 'perf_hooks', 'crypto', 'url', 'path'],
})
const image = await v86Snapshot({ progress: (text) => console.log(`  ${text}`) })
const files: Record<string, readonly [type: string, read: () => Promise<Uint8Array>]> = {
  '/': ['text/html', () => readFile(new URL('page.html', import.meta.url))],
  '/page.js': ['text/javascript', async () => bundle.outputFiles[0]?.contents ?? new Uint8Array()],
  '/v86.wasm': ['application/wasm', () => readFile(image.wasm)],
  '/bios.bin': ['application/octet-stream', () => readFile(image.bios)],
  '/vgabios.bin': ['application/octet-stream', () => readFile(image.vgaBios)],
  '/snapshot.bin': ['application/octet-stream', () => readFile(image.snapshot)],
}
const server = createServer((request, response) => {
  const [type, read] = files[new URL(request.url ?? '', 'http://page').pathname] ?? []
  if (type === undefined || read === undefined) response.writeHead(404).end()
  else void read().then((bytes) => response.writeHead(200, { 'content-type': type }).end(bytes))
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/?memory=${V86_MEMORY_MIB}`

if (values.hold) console.log(`Open ${address}`)
else if (existsSync(CHROMIUM)) await look()
else {
  console.log(
    `Not run: ${CHROMIUM} is not there. To get it: apt-get install chromium, or name one in CHROMIUM; or look yourself, with --hold.`,
  )
}
if (!values.hold) server.close()

/** Opens the page, waits until the guest has done everything, and checks what it shows. */
async function look(): Promise<void> {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      // Root has no sandbox; the page is our own.
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
  try {
    const page = await browser.newPage()
    const failed = new Promise<never>((_, reject) => page.once('pageerror', reject))
    await page.goto(address)
    const shown = async (what: string): Promise<string> => {
      const place = page.locator(`dd[data-of="${what}"]`)
      await Promise.race([place.waitFor({ timeout: 240_000 }), failed])
      const text = (await place.textContent()) ?? ''
      console.log(`${what.padEnd(14)} ${text.replaceAll('\n', ' · ')}`)
      return text
    }
    assert.match(await shown('gateway'), /served in this page/)
    assert.match(await shown('kernel'), /^Linux \d/)
    assert.match(await shown('lease'), /^192\.168\.65\.\d+\/24$/)
    assert.match(await shown('name'), /203\.0\.113\.5/)
    assert.match(await shown('guest to page'), /^hello from the page/)
    assert.equal(await shown('page to guest'), 'hello from the kernel')
    await shown('done')
    if (values.screenshot !== undefined) await page.screenshot({ path: values.screenshot })
  } finally {
    await browser.close()
  }
}
