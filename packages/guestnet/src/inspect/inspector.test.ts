/** Who may look at a network, and what is told: over the real loopback where it matters, and in virtual time. */

import { request } from 'node:http'
import { connect } from 'node:net'
import { ManualClock, memoryNetwork } from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import { zones } from '@netkit/dns'
import { captured, memoryLinkPair, pcapRing } from '@netkit/frames'
import { createStack } from '@netkit/tcpip'
import { afterEach, describe, expect, test } from 'vitest'
import { createGuestNetwork } from '../guest-network.ts'
import type { GuestNetwork, GuestNetworkOptions } from '../guest-network.ts'
import { serveInspector } from './inspector.ts'
import type { Inspector, InspectorOptions } from './inspector.ts'
import { LiveFeed } from './live-feed.ts'
import type { FeedMessage } from './live-feed.ts'
import { ProxyDecisions } from './proxy-decisions.ts'

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]()
})

async function guestNetwork(options: GuestNetworkOptions = {}): Promise<GuestNetwork> {
  const network = await createGuestNetwork({
    host: memoryNetwork(),
    hostPrefixes: [],
    dns: {
      hostsFile: false,
      upstream: zones({ authoritative: ['.'] }).set('a.test', { type: 'A', data: '203.0.113.5' }),
    },
    ...options,
  })
  opened.push(network)
  return network
}

async function inspector(
  options: Partial<InspectorOptions> = {},
): Promise<Inspector & { network: GuestNetwork }> {
  const network = options.network ?? (await guestNetwork())
  const made = await serveInspector({ host: hostNetwork(), ...options, network })
  opened.push(made)
  return { ...made, network }
}

interface Answer {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly body: string
}

const get = (
  { address }: Inspector,
  path: string,
  options: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const asked = request(
      { host: address.ip, port: address.port, path, agent: false, ...options },
      (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (text: string) => (body += text))
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        )
      },
    )
    asked.on('error', reject)
    asked.end()
  })

describe('who may look', () => {
  test('whoever has the token, on the loopback: the page and its files, and nothing from elsewhere', async () => {
    const site = await inspector()
    expect(site.address.ip).toBe('127.0.0.1')
    expect(site.token).toMatch(/^[\w-]{22}$/)
    const page = await get(site, `/${site.token}/`)
    expect(page.status).toBe(200)
    expect(page.headers['content-security-policy']).toMatch(
      /^default-src 'none'; script-src 'self'/,
    )
    expect(page.headers['referrer-policy']).toBe('no-referrer')
    expect(page.body).not.toMatch(/(?:href|src)="(?:https?:)?\/\//)
    for (const [, file = ''] of page.body.matchAll(/(?:href|src)="([\w-]+\.(?:js|css))"/g)) {
      const asset = await get(site, `/${site.token}/${file}`)
      expect([asset.status, file]).toEqual([200, file])
      for (const [, more = ''] of asset.body.matchAll(/from '\.\/([\w-]+\.js)'/g))
        expect((await get(site, `/${site.token}/${more}`)).status).toBe(200)
    }
  })

  test('two inspectors have two tokens', async () => {
    const [one, other] = [await inspector(), await inspector()]
    expect(one.token).not.toBe(other.token)
    expect((await get(one, `/${other.token}/`)).status).toBe(404)
  })

  test.each([
    ['no token', (token: string) => `/${token.slice(1)}/`],
    ['none at all', () => '/'],
    ['a token with more behind it', (token: string) => `/${token}x/snapshot`],
    ['the token without its slash', (token: string) => `/${token}`],
    ['metrics without a token', () => '/metrics'],
  ])('%s: nothing is here, and not even that there is something', async (_what, path) => {
    const site = await inspector()
    const answer = await get(site, path(site.token))
    expect(answer.status).toBe(404)
    expect(answer.body).not.toContain(site.token)
  })

  test.each(['evil.test', 'evil.test:PORT', '127.0.0.1', '127.0.0.1:1', '192.0.2.1:PORT'])(
    'a Host of "%s" is turned away, token or not: a name of the web may point here',
    async (name) => {
      const site = await inspector()
      const host = name.replace('PORT', String(site.address.port))
      const answer = await get(site, `/${site.token}/`, { headers: { host } })
      expect(answer.status).toBe(403)
      expect(answer.body).not.toContain(site.token)
    },
  )

  test.each(['localhost', '127.0.0.1', '[::1]'])('a Host of "%s" is ours', async (name) => {
    const site = await inspector()
    const host = `${name}:${site.address.port}`
    expect((await get(site, `/${site.token}/snapshot`, { headers: { host } })).status).toBe(200)
  })

  test('only GET', async () => {
    const site = await inspector()
    expect((await get(site, `/${site.token}/`, { method: 'POST' })).status).toBe(405)
  })

  test('a request that is none does not end it', async () => {
    const site = await inspector()
    await new Promise<void>((resolve) => {
      const socket = connect(site.address.port, site.address.ip, () =>
        socket.end('nonsense\r\n\r\n'),
      )
      socket.on('error', () => {})
      socket.resume().on('close', () => resolve())
    })
    expect((await get(site, `/${site.token}/%zz`)).status).toBe(404)
    expect((await get(site, '//')).status).toBe(400)
    expect((await get(site, `/${site.token}/snapshot`)).status).toBe(200)
  })

  test('a guest does not reach it, not even through the host alias', async () => {
    const network = await guestNetwork({ host: hostNetwork(), hostAlias: true, hostPrefixes: [] })
    const site = await inspector({ network })
    const [inside, link] = memoryLinkPair()
    network.attach(link, { name: 'vm' })
    const gateway = network.gateway.address
    const stack = createStack(inside, {
      addresses: [`${gateway.replace(/1$/, '3')}/24`],
      routers: [gateway],
    })
    opened.push(stack)
    const alias = network.gateway.hostAlias ?? ''
    await expect(
      stack.network.connect({ ip: alias, port: site.address.port }),
    ).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    const denied = network.snapshot().egress.stats.byRule
    expect(Object.values(denied).reduce((sum, { denied: count }) => sum + count, 0)).toBe(1)
  })
})

describe('what is told', () => {
  test('the snapshot is the network’s own', async () => {
    const site = await inspector()
    const { body } = await get(site, `/${site.token}/snapshot`)
    expect(JSON.parse(body)).toMatchObject({ gateway: { subnet: '192.168.65.0/24' }, ports: [] })
  })

  test('metrics, by the address or by a bearer token', async () => {
    const site = await inspector()
    await site.network.dns?.explain('a.test')
    const { body, headers } = await get(site, `/${site.token}/metrics`)
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(body).toContain('# TYPE netkit_dns_cache_total counter\n')
    const scraped = await get(site, '/metrics', {
      headers: { authorization: `Bearer ${site.token}` },
    })
    expect(scraped.status).toBe(200)
    const wrong = await get(site, '/metrics', { headers: { authorization: 'Bearer wrong' } })
    expect(wrong.status).toBe(404)
  })

  test.each([
    ['explain/dns?name=a.test', { answer: 'NOERROR: a.test A 5 203.0.113.5', from: 'zones' }],
    ['explain/egress?target=203.0.113.5:443', { host: '203.0.113.5', port: 443 }],
    ['explain/proxy?url=http://a.test/', { decision: { source: 'direct' } }],
  ])('%s asks the real chain', async (path, expected) => {
    const site = await inspector()
    const { status, body } = await get(site, `/${site.token}/${path}`)
    expect(status).toBe(200)
    expect(JSON.parse(body)).toMatchObject(expected)
  })

  test.each([
    'explain/dns?name=a..b',
    'explain/dns?name=a.test&type=NOPE',
    'explain/egress?target=nonsense',
  ])('%s is refused with the reason', async (path) => {
    const site = await inspector()
    const { status, body } = await get(site, `/${site.token}/${path}`)
    expect(status).toBe(400)
    expect(body.length).toBeGreaterThan(10)
  })

  test('the capture is there when there is a ring, as a file', async () => {
    expect((await get(await inspector(), '/x/capture.pcapng')).status).toBe(404)
    const bare = await inspector()
    expect((await get(bare, `/${bare.token}/capture.pcapng`)).status).toBe(404)
    const capture = pcapRing()
    const [, link] = memoryLinkPair()
    captured(link, capture, { name: 'vm' })
    const site = await inspector({ capture })
    const { status, headers, body } = await get(site, `/${site.token}/capture.pcapng`)
    expect(status).toBe(200)
    expect(headers['content-disposition']).toBe('attachment; filename="netkit.pcapng"')
    expect(body.slice(0, 4)).toBe('\n\r\r\n')
  })

  test('the ninth page is told that eight look already; closing ends them all', async () => {
    const site = await inspector()
    const ends: Promise<void>[] = []
    for (let page = 0; page < 8; page++) {
      await new Promise<void>((resolve) => {
        const asked = request(
          {
            host: '127.0.0.1',
            port: site.address.port,
            path: `/${site.token}/events`,
            agent: false,
          },
          (response) => {
            response.once('data', (first: Buffer) => {
              expect(first.toString()).toMatch(/^event: state\ndata: \{/)
              resolve()
            })
            response.on('error', () => {})
            ends.push(new Promise((end) => response.once('close', end)))
          },
        )
        asked.on('error', () => {})
        asked.end()
      })
    }
    const ninth = await get(site, `/${site.token}/events`)
    expect(ninth.status).toBe(503)
    await site.close()
    await Promise.all(ends)
  })
})

/** A page of which the test looks at what it was sent. */
function viewer(): {
  ready: () => boolean
  send: (event: FeedMessage['event'], json: string) => void
  told: FeedMessage['event'][]
  last(event: string): unknown
  stalled: boolean
} {
  const messages: [string, unknown][] = []
  const made = {
    stalled: false,
    told: [] as FeedMessage['event'][],
    ready: () => !made.stalled,
    send: (event: FeedMessage['event'], json: string) => {
      made.told.push(event)
      messages.push([event, JSON.parse(json)])
    },
    last: (event: string) => messages.findLast(([kind]) => kind === event)?.[1],
  }
  return made
}

describe('the feed', () => {
  test('tells at once, then every second, only what is new; nobody looks: nothing runs', async () => {
    const clock = new ManualClock()
    const network = await guestNetwork({ clock, ipv6: 'off' })
    using decisions = new ProxyDecisions(clock)
    const feed = new LiveFeed({ network, decisions, capture: undefined, clock })
    const idle = clock.pending
    const page = viewer()
    const hide = feed.show(page)
    expect(page.told).toEqual(['state'])
    await network.dns?.explain('a.test')
    await clock.advance(999)
    expect(page.told).toEqual(['state'])
    await clock.advance(1)
    expect(page.told).toEqual(['state', 'state', 'dns'])
    expect(page.last('dns')).toMatchObject([{ number: 1, name: 'a.test', rcode: 'NOERROR' }])
    await clock.advance(1000)
    expect(page.told).toEqual(['state', 'state', 'dns', 'state'])
    hide()
    expect(feed.viewers).toBe(0)
    expect(clock.pending).toBe(idle)
  })

  test('who does not read gets nothing until he has, and then what is true by then', async () => {
    const clock = new ManualClock()
    const network = await guestNetwork({ clock, ipv6: 'off' })
    using decisions = new ProxyDecisions(clock)
    const feed = new LiveFeed({ network, decisions, capture: undefined, clock })
    const page = viewer()
    page.stalled = true
    const hide = feed.show(page)
    for (const name of ['a.test', 'b.test']) await network.dns?.explain(name)
    await clock.advance(5000)
    expect(page.told).toEqual([])
    page.stalled = false
    await clock.advance(1000)
    expect(page.told).toEqual(['state', 'dns'])
    expect(page.last('dns')).toMatchObject([{ name: 'a.test' }, { name: 'b.test' }])
    hide()
  })
})
