/**
 * Files whose content matters: read again when the OS says that they may have changed, and every 5 s in case it does not.
 *
 * ```
 *   fs event ─▶ 100 ms of quiet ─▶ read all ─▶ same text? nothing : onChange(texts)
 *   every 5 s ───────────────────▶
 * ```
 */

import { systemClock } from '../clock.ts'
import type { Clock, Timer } from '../clock.ts'
import { WATCH_DEBOUNCE_MS, WATCH_POLL_MS } from './limits.ts'
import { hostFiles } from './host-files.ts'
import type { HostFiles } from './host-files.ts'

/** Texts by path; `undefined` where there is no such file. */
export type FileTexts = ReadonlyMap<string, string | undefined>

/** Options of `watchFiles`. */
export interface WatchFilesOptions {
  paths: readonly string[]
  /** Runs with all texts when one of them changed. */
  onChange: (texts: FileTexts) => void
  files?: HostFiles
  clock?: Clock
  /** `ms`. Default 100. */
  debounceMs?: number
  /** `ms`; 0 never polls. Default 5000. */
  pollMs?: number
}

/** A running watch. */
export interface FileWatch extends AsyncDisposable {
  /** The texts as last read. */
  readonly texts: FileTexts
  /** Reads again now; resolves when that is done. */
  refresh(): Promise<void>
  close(): Promise<void>
}

/** Reads the files and goes on watching them. */
export async function watchFiles(options: WatchFilesOptions): Promise<FileWatch> {
  const { paths, onChange, files = hostFiles, clock = systemClock } = options
  const { debounceMs = WATCH_DEBOUNCE_MS, pollMs = WATCH_POLL_MS } = options
  const readAll = async (): Promise<FileTexts> =>
    new Map(await Promise.all(paths.map(async (path) => [path, await files.read(path)] as const)))
  let texts = await readAll()
  let closed = false
  let quiet: Timer | undefined
  let poll: Timer | undefined
  const refresh = async (): Promise<void> => {
    const now = await readAll()
    if (closed || paths.every((path) => now.get(path) === texts.get(path))) return
    texts = now
    onChange(texts)
  }
  const mayHaveChanged = (): void => {
    quiet?.cancel()
    quiet = clock.after(debounceMs, () => void refresh())
  }
  const pollLater = (): void => {
    poll = clock.after(pollMs, () => {
      pollLater()
      void refresh()
    })
  }
  const ends = paths.map((path) => files.watch(path, mayHaveChanged))
  if (pollMs > 0) pollLater()
  const close = async (): Promise<void> => {
    closed = true
    quiet?.cancel()
    poll?.cancel()
    for (const end of ends) end()
  }
  return {
    get texts() {
      return texts
    },
    refresh,
    close,
    [Symbol.asyncDispose]: close,
  }
}
