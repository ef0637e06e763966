/** What the soak does over and over, and which faults may break it. Everything else must go on through them. */

import { createHash } from 'node:crypto'
import type { GuestNetwork } from '@netkit/guestnet'
import { askDatagram, ENGINE_IMAGE, pattern, patternDigest, runCommand } from '@netkit/guests'
import { PAGE_PORT } from './engine.ts'
import type { SoakEngine } from './engine.ts'
import type { FaultKind } from './faults.ts'
import type { GuestOnCable } from './guest-on-cable.ts'
import type { Load } from './load.ts'
import { HOST, OFFICE, TRANSFER_BYTES, WEB_PORT } from './places.ts'

/** The guest's own servers: a page of the pattern over HTTP, and datagrams given back. */
export const GUEST_SERVICES = `
cd $NETKIT_GUEST_FOLDER && mkdir -p www && curl -sf -m 30 -o www/page http://${HOST}:${WEB_PORT}/bytes/${TRANSFER_BYTES}
busybox httpd -p 80 -h $NETKIT_GUEST_FOLDER/www
socat -b 65536 UDP4-RECVFROM:53,fork EXEC:cat >/dev/null 2>&1 </dev/null &`

/** What the loads work with. */
export interface LoadParts {
  readonly network: GuestNetwork
  readonly vm: GuestOnCable
  readonly engine: SoakEngine | undefined
  /** Host ports that lead to the guest's servers. */
  readonly ports: { readonly http: number; readonly udp: number }
}

const CURL = 'curl -sf -m 10'
const HASH = "sha256sum | cut -d' ' -f1"
const GUEST_FAULTS: readonly FaultKind[] = ['link cut', 'guest reboot']

/** curl on the host. */
async function hostCurl(url: string): Promise<Buffer> {
  const args = ['-sf', '-m', '10', url]
  const { code, stdout } = await runCommand('curl', args, { timeoutMs: 30_000 })
  if (code !== 0) throw new Error(`curl ${url}: status ${code}`)
  return stdout
}

/** The loads. */
export function soakLoads({ network, vm, engine, ports }: LoadParts): Load[] {
  const { gateway } = network
  const bytes = TRANSFER_BYTES
  const expected = patternDigest(bytes)
  const web = `http://${HOST}:${WEB_PORT}`
  const proxy = 'http://http.docker.internal:3128'
  const transfer = { bytes, expected, disturbedBy: GUEST_FAULTS }
  let asked = 0

  const loads: Load[] = [
    {
      ...transfer,
      name: 'guest downloads by name',
      workers: 2,
      once: () =>
        vm.run(`${CURL} http://host.docker.internal:${WEB_PORT}/bytes/${bytes} | ${HASH}`),
    },
    {
      ...transfer,
      name: 'guest uploads',
      workers: 1,
      once: () => vm.run(`${CURL} -T $NETKIT_GUEST_FOLDER/www/page ${web}/page`),
    },
    {
      ...transfer,
      name: 'guest downloads slowly',
      workers: 1,
      once: () => vm.run(`curl -sf -m 30 --limit-rate 256k ${web}/bytes/${bytes} | ${HASH}`),
    },
    {
      ...transfer,
      name: 'guest downloads through the proxy',
      workers: 1,
      once: () => vm.run(`${CURL} -x ${proxy} ${web}/bytes/${bytes} | ${HASH}`),
    },
    {
      ...transfer,
      name: 'guest tunnels slowly through the proxy',
      workers: 1,
      once: () =>
        vm.run(`curl -sf -m 30 --limit-rate 256k -p -x ${proxy} ${web}/bytes/${bytes} | ${HASH}`),
    },
    {
      ...transfer,
      name: 'guest downloads through the VPN',
      workers: 1,
      disturbedBy: [...GUEST_FAULTS, 'tunnel down'],
      once: () => vm.run(`${CURL} http://${OFFICE}:${WEB_PORT}/bytes/${bytes} | ${HASH}`),
    },
    {
      name: 'guest resolves',
      workers: 1,
      bytes: 0,
      disturbedBy: GUEST_FAULTS,
      expected: gateway.hostAlias ?? '',
      once: () =>
        vm.run(
          `nslookup -type=a host.docker.internal. | sed -n '/^Name:/,$ s/^Address[^0-9]*\\([0-9.]*\\)$/\\1/p' | grep .`,
        ),
    },
    {
      ...transfer,
      name: 'host downloads by a published port',
      workers: 2,
      once: async () =>
        createHash('sha256')
          .update(await hostCurl(`http://127.0.0.1:${ports.http}/page`))
          .digest('hex'),
    },
    {
      name: 'host asks by a published UDP port',
      workers: 1,
      // Each question is a flow, which is remembered for two minutes: more of them would be the growth that is looked for.
      pauseMs: 1000,
      bytes: 0,
      disturbedBy: GUEST_FAULTS,
      expected: 'given back',
      async once() {
        const question = `question ${asked++}`
        const { text } = await askDatagram('127.0.0.1', ports.udp, question)
        return text === question ? 'given back' : text
      },
    },
  ]
  if (engine === undefined) return loads
  const input = Buffer.concat([...pattern(bytes / 4)])
  const hashed = createHash('sha256').update(input).digest('hex')
  return [
    ...loads,
    {
      name: 'docker run',
      workers: 1,
      bytes: input.length,
      disturbedBy: ['engine crash'],
      expected: `${hashed}  -`,
      once: () => engine.docker(['run', '--rm', '-i', ENGINE_IMAGE, 'sha256sum'], input),
    },
    {
      name: 'host asks a container by its published port',
      workers: 1,
      bytes: 0,
      disturbedBy: ['engine crash'],
      expected: 'published',
      once: async () => (await hostCurl(`http://127.0.0.1:${PAGE_PORT}/`)).toString().trim(),
    },
  ]
}
