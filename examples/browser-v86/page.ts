/**
 * The page: a Linux guest, and the gateway, DHCP server, DNS server and web server that it finds on its network. Nothing leaves
 * the page.
 *
 * ```
 *   v86 ── net0-send / net0-receive ── messageLink ── gateway ── memoryNetwork ── the page's web server
 *                                                       └ DHCP, DNS
 * ```
 */

import { formatIpv4, memoryNetwork, parseIpv4, readAll, writeAll } from '@netkit/core'
import type { ByteStream } from '@netkit/core'
import { createDnsServer, zones } from '@netkit/dns'
import { messageLink } from '@netkit/frames'
import { createGateway } from '@netkit/tcpip'
import { startGuest } from './emulator.ts'

const PAGE_IP = '203.0.113.5'

/** As much of the page as is used: the repository's programs are checked without a browser's declarations. */
interface Page {
  readonly location: { readonly search: string }
  readonly document: {
    querySelector(selector: string): PageElement
    createElement(name: string): PageElement
  }
}
interface PageElement {
  textContent: string
  readonly dataset: Record<string, string>
  append(...children: PageElement[]): void
}

const { location, document } = globalThis as unknown as Page
const MEMORY_MIB = Number(new URLSearchParams(location.search).get('memory'))

function show(what: string, text: string): void {
  const log = document.querySelector('#log')
  const [title, body] = [document.createElement('dt'), document.createElement('dd')]
  title.textContent = what
  body.textContent = text
  body.dataset['of'] = what
  log.append(title, body)
}

async function answer(stream: ByteStream): Promise<void> {
  const body = 'hello from the page\n'
  const head = `HTTP/1.0 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`
  await writeAll(stream, new TextEncoder().encode(head + body))
  stream.end()
}

// What the guest can reach: one web server, which is this page.
const outside = memoryNetwork()
await outside.listen({ ip: PAGE_IP, port: 80 }, (stream) => void answer(stream))

const gateway = createGateway({ network: outside })
const names = zones({ authoritative: ['.'] })
names.set('page.test', { type: 'A', data: PAGE_IP })
const dns = createDnsServer({ upstream: zones({ authoritative: ['.'] }), names: [names] })
await dns.listen(gateway.network, { ip: gateway.address, port: 53 })

show('gateway', `${gateway.subnet}, served in this page`)
const guest = await startGuest(MEMORY_MIB)
gateway.attach(messageLink(guest.nic), { name: 'v86' })

show('kernel', (await guest.exec('uname -sr')).trim())
await guest.exec('ip link set eth0 up; udhcpc -q -n -i eth0 -s "$NETKIT_UDHCPC"')
const address = await guest.exec("ip -4 -o addr show eth0 | awk '{print $4}'")
show('lease', address.trim())
show('name', (await guest.exec('nslookup -type=a page.test. | grep Address | tail -n 1')).trim())
show('guest to page', (await guest.exec('wget -q -O - http://page.test/')).trim())

await guest.exec('(echo hello from the kernel | nc -l -p 7000 >/dev/null) &')
const ip = formatIpv4(parseIpv4(address.trim().split('/')[0] ?? '') ?? 0)
for (;;) {
  // The guest's server is there when somebody gets in.
  const stream = await gateway.network.connect({ ip, port: 7000 }).catch(() => undefined)
  if (stream === undefined) continue
  stream.end()
  show('page to guest', new TextDecoder().decode(await readAll(stream)).trim())
  break
}
show('done', `${gateway.leases().length} lease`)
