/** The files that watchers read: injected, so that every OS's layout is tested on any OS. */

import { watch } from 'node:fs'
import { readdir, readFile, realpath } from 'node:fs/promises'
import { basename, dirname } from 'node:path'

/** What watchers need of a file system. */
export interface HostFiles {
  /** The text of a file; `undefined` when it does not exist or may not be read. */
  read(path: string): Promise<string | undefined>
  /** Names in a directory; empty when it does not exist. */
  list(path: string): Promise<readonly string[]>
  /**
   * Runs `run` when a file may have changed, also when it is replaced, created or removed, and also where the path is a symbolic link
   * whose target is replaced. Returns what ends it. Never throws: a path that cannot be watched is not watched.
   */
  watch(path: string, run: () => void): () => void
}

/** The host's own files. */
export const hostFiles: HostFiles = {
  async read(path) {
    try {
      return await readFile(path, 'utf8')
    } catch {
      return undefined
    }
  },
  async list(path) {
    try {
      return await readdir(path)
    } catch {
      return []
    }
  },
  watch(path, run) {
    // Editors and resolvconf replace files by renaming others over them: watch the directories, of the link and of its target.
    const closers: (() => void)[] = []
    let closed = false
    const watchIn = (file: string): void => {
      try {
        const name = basename(file)
        const watcher = watch(dirname(file), { persistent: false }, (_event, changed) => {
          if (changed === null || changed === name) run()
        })
        watcher.on('error', () => {})
        closers.push(() => watcher.close())
      } catch {
        // The directory does not exist (yet): the poll will see the file.
      }
    }
    watchIn(path)
    void realpath(path).then(
      (target) => (closed || dirname(target) === dirname(path) ? undefined : watchIn(target)),
      () => {},
    )
    return () => {
      closed = true
      for (const close of closers) close()
    }
  },
}
