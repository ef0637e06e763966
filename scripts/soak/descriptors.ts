/** What this process has open. */

import { readdirSync, readlinkSync } from 'node:fs'

/** Open descriptors by kind: `socket`, `pipe`, `/dev/net/tun`, … */
export function openDescriptors(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const fd of readdirSync('/proc/self/fd')) {
    let target: string
    try {
      target = readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      // The directory itself, which is closed again.
      continue
    }
    const kind = target.replace(/:\[.*$/, '')
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  return counts
}

/** What is open now and was not before, in words; empty where nothing is. */
export function moreThan(before: ReadonlyMap<string, number>): string {
  return [...openDescriptors()]
    .filter(([kind, count]) => count > (before.get(kind) ?? 0))
    .map(([kind, count]) => `${kind} ${before.get(kind) ?? 0} → ${count}`)
    .join(', ')
}
