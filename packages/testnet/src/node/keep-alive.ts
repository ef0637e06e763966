/** Keeps the process alive while virtual sockets and servers live, as descriptors of the kernel would. */

import { realTimers } from './originals.ts'

const LONGEST_MS = 2 ** 31 - 1
const holders = new Set<object>()
let timer: NodeJS.Timeout | undefined

/** The process lives as long as this holder does. */
export function hold(holder: object): void {
  holders.add(holder)
  timer ??= realTimers.setInterval(() => {}, LONGEST_MS)
}

/** The holder is gone, or `unref`ed. */
export function release(holder: object): void {
  holders.delete(holder)
  if (holders.size > 0) return
  realTimers.clearInterval(timer)
  timer = undefined
}
