/**
 * Changes of systemd-resolved's configuration: a link's servers and domains, which no file may show where resolv.conf names the stub.
 *
 * ```
 *   SubscribeDNSConfiguration, more ─▶ the configuration now, and again whenever it changes ─▶ another than the last? onChange
 *   the service goes away ─▶ 1 s, 2 s, … 60 s ─▶ again; what changed meanwhile is seen by the first reply
 *   the service does not know the method (before systemd 258), or not for us ─▶ no more
 * ```
 *
 * Method and reply (`configuration`) as in systemd's src/shared/varlink-io.systemd.Resolve.Monitor.c and
 * src/resolve/resolved-varlink.c (`vl_method_subscribe_dns_configuration`).
 */

import type { Clock, Dialer, Timer } from '@netkit/core'
import { MONITOR_RETRY_MAX_MS, MONITOR_RETRY_MS } from '../limits.ts'
import { callVarlink } from './varlink.ts'

/** Where systemd-resolved tells of itself. */
export const RESOLVED_MONITOR_SOCKET = '/run/systemd/resolve/io.systemd.Resolve.Monitor'

/** Options of `watchResolved`. */
export interface WatchResolvedOptions {
  /** What connects to unix sockets. */
  network: Dialer
  /** Default `/run/systemd/resolve/io.systemd.Resolve.Monitor`. */
  path?: string
  clock: Clock
  /** Runs after the configuration became another. */
  onChange: () => void
}

/** Subscribes, and goes on doing so until the returned function is called. */
export function watchResolved(options: WatchResolvedOptions): () => void {
  const { network, path = RESOLVED_MONITOR_SOCKET, clock, onChange } = options
  const closing = new AbortController()
  let last: string | undefined
  let delay = MONITOR_RETRY_MS
  let timer: Timer | undefined
  const again = (): void => {
    if (closing.signal.aborted) return
    timer = clock.after(delay, () => void subscribe())
    delay = Math.min(2 * delay, MONITOR_RETRY_MAX_MS)
  }
  const subscribe = async (): Promise<void> => {
    const { signal } = closing
    const origin = { layer: 'dns' } as const
    const stream = await network.connect({ path }, { signal, origin }).catch(again)
    if (!stream) return
    signal.addEventListener('abort', () => stream.reset(), { once: true })
    const method = 'io.systemd.Resolve.Monitor.SubscribeDNSConfiguration'
    callVarlink(
      stream,
      { method, parameters: {}, more: true },
      ({ error, parameters }) => {
        if (error !== undefined) {
          closing.abort()
          return
        }
        delay = MONITOR_RETRY_MS
        const now = JSON.stringify(parameters)
        const before = last
        last = now
        if (before !== undefined && before !== now) onChange()
      },
      again,
    )
  }
  void subscribe()
  return () => {
    timer?.cancel()
    closing.abort()
  }
}
