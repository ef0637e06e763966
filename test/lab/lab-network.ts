/** The network under test, as the lab's guests meet it: everything is the composition's own but the capture. */

import { closeSync, openSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { captured, pcapFile, type FrameLink } from '@netkit/frames'
import { createGuestNetwork, type GuestNetwork } from '@netkit/guestnet'
import type { TourNetwork } from '@netkit/guests'

/** What DHCP hands out beside addresses. */
export const SEARCH_DOMAIN = 'lab.example'

/** A network with a capture of every link. */
export interface LabNetwork extends TourNetwork, AsyncDisposable {
  /** The parts themselves, for what only they can tell. */
  readonly composition: GuestNetwork
  attach(link: FrameLink, name?: string): void
  /** Ends the capture and gives its path. */
  capture(): Promise<string>
  /** Ends everything and removes the capture. Idempotent. */
  close(): Promise<void>
}

/** Makes a network for one test file. With `KEEP_CAPTURES` set, its capture stays in the temporary folder. */
export async function labNetwork(): Promise<LabNetwork> {
  const folder = await mkdtemp(join(tmpdir(), 'netkit-lab-'))
  const path = join(folder, 'lab.pcapng')
  const file = openSync(path, 'wx', 0o600)
  // Written at once: a capture with holes would show losses that never were.
  const capture = pcapFile({ write: (bytes) => void writeSync(file, bytes) })
  const composition = await createGuestNetwork({
    hostAlias: true,
    dhcp: { searchDomains: [SEARCH_DOMAIN] },
  })
  const { gateway } = composition
  let captureEnded = false
  const endCapture = (): void => {
    if (captureEnded) return
    captureEnded = true
    capture.close()
    closeSync(file)
  }
  let closing: Promise<void> | undefined
  const close = (): Promise<void> =>
    (closing ??= (async (): Promise<void> => {
      await composition.close()
      endCapture()
      if (process.env['KEEP_CAPTURES'] === undefined)
        await rm(folder, { recursive: true, force: true })
    })())
  return {
    composition,
    subnet: gateway.subnet,
    gateway: gateway.address,
    hostAlias: gateway.hostAlias ?? '',
    attach(link, name = 'guest') {
      composition.attach(captured(link, capture, { name }), { name })
    },
    async publish(guestPort) {
      const request = { protocol: 'tcp' as const, port: 0 }
      const lease = await composition.publish({ request, guestPort })
      return { port: lease.ports[0]?.port ?? 0, close: () => lease.abort() }
    },
    capture() {
      endCapture()
      return Promise.resolve(path)
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}
