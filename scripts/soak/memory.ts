/** The memory of this process over time, after collections: whether it grows. */

/** One look. */
export interface MemorySample {
  readonly atMs: number
  /** Live objects, and buffers outside the heap. */
  readonly liveBytes: number
  readonly residentBytes: number
}

/** Collects, then looks. Needs `--expose-gc`. */
export function sampleMemory(): MemorySample {
  if (globalThis.gc === undefined) throw new Error('Start node with --expose-gc.')
  // The second finds what finalizers of the first let go.
  globalThis.gc()
  globalThis.gc()
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage()
  return { atMs: performance.now(), liveBytes: heapUsed + arrayBuffers, residentBytes: rss }
}

/**
 * Growth in bytes per minute: the median of the slopes between all pairs of samples (Theil-Sen), which a burst of flows at the moment
 * of one look does not move.
 */
export function growthPerMinute(samples: readonly MemorySample[]): number {
  const slopes: number[] = []
  for (const [i, a] of samples.entries())
    for (const b of samples.slice(i + 1))
      slopes.push(((b.liveBytes - a.liveBytes) / (b.atMs - a.atMs)) * 60_000)
  return slopes.toSorted((a, b) => a - b)[slopes.length >> 1] ?? 0
}
