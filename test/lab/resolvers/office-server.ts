/**
 * The name server that the host of this lab asks: dnsmasq, which shares no code with what is tested, on a loopback address of its own.
 */

import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Addresses of `many.corp.test`: more than fit in 512 or 1232 bytes. */
export const MANY = Array.from({ length: 90 }, (_, i) => `198.18.9.${i + 1}`)

/** TTL of the office's records, `s`. */
export const OFFICE_TTL = 600

/** A running server. */
export interface OfficeServer extends AsyncDisposable {
  /** Its address; the port is 53. */
  readonly ip: string
}

const hex = (...parts: readonly (string | number)[]): string =>
  Buffer.concat(
    parts.map((part) => Buffer.from(typeof part === 'number' ? [part] : part)),
  ).toString('hex')

const settings = (ip: string, web: string): string[] => [
  'no-resolv',
  'no-hosts',
  `local-ttl=${OFFICE_TTL}`,
  `listen-address=${ip}`,
  'bind-interfaces',
  'local=/corp.test/',
  'local=/18.198.in-addr.arpa/',
  'host-record=wiki.corp.test,198.18.7.2,fd00:7::2',
  // Without AAAA; one name for each library, so that each is asked for once.
  'host-record=glibc-only.corp.test,198.18.7.4',
  'host-record=musl-only.corp.test,198.18.7.4',
  `host-record=www.corp.test,${web}`,
  'cname=alias.corp.test,wiki.corp.test',
  'mx-host=wiki.corp.test,mail.corp.test,5',
  `txt-record=wiki.corp.test,one,${['x', 'y', 'z'].map((c) => c.repeat(255)).join(',')}`,
  'caa-record=wiki.corp.test,0,issue,ca.corp.test',
  `dns-rr=wiki.corp.test,65,${hex(0, 1, 0, 0, 1, 0, 3, 2, 'h2')}`,
  'dns-rr=wiki.corp.test,65535,010203',
  ...Array.from(
    { length: 40 },
    (_, i) => `srv-host=_ldap._tcp.corp.test,dc${i}.corp.test,389,${i},1`,
  ),
  ...MANY.map((address) => `host-record=many.corp.test,${address}`),
]

/** Starts it; resolves once it answers. `web` is the address of `www.corp.test`. */
export async function officeServer(web: string): Promise<OfficeServer> {
  const { pid } = process
  const ip = `127.77.${(pid >> 8) & 0xff}.${pid & 0xff}`
  const folder = await mkdtemp(join(tmpdir(), 'netkit-office-'))
  const file = join(folder, 'dnsmasq.conf')
  await writeFile(file, `${settings(ip, web).join('\n')}\n`)
  const child = spawn('dnsmasq', [
    '--keep-in-foreground',
    '--log-facility=-',
    `-C${file}`,
    '-uroot',
  ])
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()))
  let said = ''
  await new Promise<void>((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
      // Its last line before it serves.
      if (/cleared cache|read .* addresses|started, version/.test(said)) resolve()
    })
    child.once('error', reject)
    child.once('close', () => reject(new Error(`dnsmasq ended: ${said}`)))
  })
  return {
    ip,
    async [Symbol.asyncDispose]() {
      child.kill()
      await exited
      await rm(folder, { recursive: true, force: true })
    },
  }
}
