/** `--inspect`, for the commands that run a network: a live page of it on this host's loopback. */

import { InvalidArgumentError, Option } from 'commander'
import { hostNetwork } from '@netkit/core/node'
import { captured, pcapRing, type FrameLink } from '@netkit/frames'
import type { GuestNetwork } from '@netkit/guestnet'
import { serveInspector } from '@netkit/guestnet/inspect'
import type { Reporter } from './reporter.ts'

/** What a command has of `--inspect`: nothing, the bare option, or a port. */
export interface InspectOption {
  readonly inspect?: true | number
}

/** The option. */
export const inspectOption = (): Option =>
  new Option(
    '--inspect [port]',
    'serve a live page of flows, names and ports on this host’s loopback, and print its address',
  ).argParser(parsePort)

/** A page that runs, or none. */
export interface InspectedNetwork extends AsyncDisposable {
  /** The link, with its frames in the page's capture. */
  watched(link: FrameLink, name: string): FrameLink
  /** Serves the page and tells its address. @throws the socket's error when the port cannot be had. */
  serve(network: GuestNetwork, reporter: Reporter): Promise<void>
}

/** Prepares the page that `options` ask for; does nothing where they do not. */
export function inspected({ inspect }: InspectOption): InspectedNetwork {
  const capture = inspect === undefined ? undefined : pcapRing()
  let page: AsyncDisposable | undefined
  return {
    watched: (link, name) => (capture ? captured(link, capture, { name }) : link),
    async serve(network, reporter) {
      if (inspect === undefined || capture === undefined) return
      const inspector = await serveInspector({
        network,
        host: hostNetwork(),
        capture,
        ...(typeof inspect === 'number' && { port: inspect }),
      })
      page = inspector
      const { url } = inspector
      reporter.event('inspect', { url }, `Live page: ${url}`)
    },
    [Symbol.asyncDispose]: async () => await page?.[Symbol.asyncDispose](),
  }
}

function parsePort(value: string): number {
  const port = Number(value)
  if (!/^\d+$/.test(value) || port < 1 || port > 65_535)
    throw new InvalidArgumentError('A port is 1 to 65535.')
  return port
}
