/** The network under test, as the lab's guests meet it: everything is the composition's own but the capture. */

import type { FrameLink } from '@netkit/frames'
import { createGuestNetwork, type GuestNetwork, type GuestNetworkOptions } from '@netkit/guestnet'
import type { TourNetwork } from '@netkit/guests'
import { labCapture, type CaptureFiles } from './lab-capture.ts'

/** What DHCP hands out beside addresses. */
export const SEARCH_DOMAIN = 'lab.example'

/** A network with a capture of every link. */
export interface LabNetwork extends TourNetwork, AsyncDisposable {
  /** The parts themselves, for what only they can tell. */
  readonly composition: GuestNetwork
  attach(link: FrameLink, name?: string): void
  /** Ends the capture and gives its files. */
  captureFiles(): CaptureFiles
  /** Ends everything and removes the capture. Idempotent. */
  close(): Promise<void>
}

/** Makes a network for one test file. With `KEEP_CAPTURES` set, its captures stay in the temporary folder. */
export async function labNetwork(options: GuestNetworkOptions = {}): Promise<LabNetwork> {
  const capture = await labCapture()
  const composition = await createGuestNetwork({
    hostAlias: true,
    dhcp: { searchDomains: [SEARCH_DOMAIN] },
    ...options,
  })
  const { gateway } = composition
  let closing: Promise<void> | undefined
  const close = (): Promise<void> =>
    (closing ??= (async (): Promise<void> => {
      await composition.close()
      await capture.close()
    })())
  return {
    composition,
    subnet: gateway.subnet,
    gateway: gateway.address,
    hostAlias: gateway.hostAlias ?? '',
    attach(link, name = 'guest') {
      composition.attach(capture.link(link, name), { name })
    },
    async publish(guestPort) {
      const request = { protocol: 'tcp' as const, port: 0 }
      const lease = await composition.publish({ request, guestPort })
      return { port: lease.ports[0]?.port ?? 0, close: () => lease.abort() }
    },
    captureFiles: () => capture.end(),
    close,
    [Symbol.asyncDispose]: close,
  }
}
