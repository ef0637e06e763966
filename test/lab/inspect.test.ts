/** The live page in a real browser, over a network in which nine thousand flows live. */

import { readFile } from 'node:fs/promises'
import type { Locator, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hostNetwork } from '@netkit/core/node'
import { serveInspector, type Inspector } from '@netkit/guestnet/inspect'
import { findProgram } from '@netkit/guests'
import { openBrowser } from './inspect/browser.ts'
import { shownNetwork, type ShownNetwork } from './inspect/shown-network.ts'
import { unless } from './skip-reason.ts'

const FLOWS = 9000
/** Far more than fit on a screen, far fewer than there are. */
const MOST_ROWS = 100

const chromium = await findProgram('chromium')
const missing =
  chromium === undefined
    ? 'chromium is not installed. To get it: apt-get install chromium'
    : undefined

describe('the live page', unless(missing), () => {
  let shown: ShownNetwork
  let inspector: Inspector
  let browser: Awaited<ReturnType<typeof openBrowser>>
  let page: Page
  const problems: string[] = []

  const tab = async (name: string): Promise<void> => await page.getByRole('tab', { name }).click()
  const table = (name: string): Locator => page.getByRole('table', { name })
  /** The rows in sight with this text. */
  const rows = (name: string, hasText: RegExp = /./): Locator =>
    table(name).locator('tbody tr:not(.spacer)', { hasText })

  beforeAll(async () => {
    shown = await shownNetwork()
    const { network, capture } = shown
    inspector = await serveInspector({ network, host: hostNetwork(), capture })
    browser = await openBrowser(chromium ?? '')
    page = await browser.context.newPage()
    page.on('pageerror', (error) => problems.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error') problems.push(message.text())
    })
    page.on('request', (request) => {
      if (!request.url().startsWith(inspector.url)) problems.push(`asked for ${request.url()}`)
    })
    await page.goto(inspector.url)
  })
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]()
    await inspector?.close()
    await shown?.[Symbol.asyncDispose]()
  })

  test('an empty network says so', async () => {
    await page.getByText('No flow yet.').waitFor()
    expect(await page.locator('#link').textContent()).toBe('live')
  })

  test('nine thousand flows: all are there, and only those in sight are elements', async () => {
    for (const name of ['www.example.com', 'registry.example.com', 'api.corp.test'])
      await shown.resolve(name)
    await shown.open(FLOWS)
    await page.locator('#shown', { hasText: /^9,0\d\d of/ }).waitFor()
    const inSight = await rows('Flows').count()
    expect(inSight).toBeGreaterThan(10)
    expect(inSight).toBeLessThan(MOST_ROWS)
    await rows('Flows', /vm.*203\.0\.113.*open/)
      .first()
      .waitFor()
    // The far end is as near as the first row.
    await page.locator('#flow-table .viewport').evaluate((viewport) => {
      viewport.scrollTop = viewport.scrollHeight
    })
    await table('Flows').locator('tbody tr[aria-rowindex="9001"]').waitFor()
  })

  test('a filter, and a flow with its decision, its rule and why', async () => {
    await page.getByLabel('Filter').fill('registry 203.0.113.20')
    await page.getByText(/^3,000 of 9,0/).waitFor()
    const row = rows('Flows', /registry\.example\.com.*dial.*the registry/).first()
    await row.click()
    const why = page.locator('#flow-detail li')
    await why.first().waitFor()
    expect(await why.first().textContent()).toContain('203.0.113.20:443: allowed by the registry')
  })

  test('a denied flow is told with its rule', async () => {
    await shown.resolve('pastebin.example.net')
    await shown.visit('203.0.113.99', 443)
    await page.getByLabel('Filter').fill('pastebin')
    const denied = rows('Flows', /pastebin\.example\.net/).first()
    await denied.waitFor()
    expect(await denied.textContent()).toMatch(/closed.*no pastebins/)
    await page.getByLabel('Filter').fill('')
  })

  test('DNS: the log, and a query explained by the real chain', async () => {
    await tab('DNS')
    const query = rows('DNS queries', /pastebin\.example\.net/).first()
    await query.waitFor()
    expect(await query.textContent()).toMatch(/vm.*A.*NOERROR.*zones/)
    await page.getByLabel('Name').fill('host.docker.internal')
    await page.getByRole('button', { name: 'Explain' }).first().click()
    await page.getByText('host.docker.internal A 5 192.168.65.254').first().waitFor()
    await page.getByLabel('Name').fill('a..b')
    await page.getByRole('button', { name: 'Explain' }).first().click()
    await page.getByText(/empty label/).waitFor()
  })

  test('ports with their owners, guests, counters', async () => {
    await tab('Ports')
    expect(await table('Published ports').textContent()).toMatch(/web.*8080.*database.*5432/)
    await tab('Guests')
    expect(await table('Guests').textContent()).toMatch(/vm.*up.*192\.168\.65\.3/)
    await tab('Counters')
    await page.getByText('byRule no pastebins denied').waitFor()
  })

  test('the capture is downloaded as a file for Wireshark', async () => {
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: 'Download capture' }).click(),
    ])
    expect(download.suggestedFilename()).toBe('netkit.pcapng')
    const bytes = await readFile(await download.path())
    expect(bytes.readUInt32LE(0)).toBe(0x0a0d0d0a)
    expect(bytes.length).toBeGreaterThan(100_000)
  })

  test('by keyboard: from tab to tab with the arrows, into the tables with Enter', async () => {
    await page.getByRole('tab', { name: 'Counters' }).focus()
    await page.keyboard.press('ArrowRight')
    expect(await page.getByRole('tab', { name: /^Flows/ }).getAttribute('aria-selected')).toBe(
      'true',
    )
    await rows('Flows').nth(1).focus()
    await page.keyboard.press('Enter')
    await page.locator('#flow-detail li').first().waitFor()
  })

  test('nothing went wrong, and nothing was asked of anybody else', () => {
    // The malformed name above is told to the console by the browser as well.
    expect(problems.filter((text) => !/status of 400/.test(text))).toEqual([])
  })
})
