import type { HostFiles } from './host-files.ts'

/** Files in memory. */
export interface FakeFiles extends HostFiles {
  readonly texts: Map<string, string>
  /** Writes and tells the watchers. */
  write(path: string, text: string): void
  /** Watches that are open. */
  readonly watches: Set<() => void>
}

/** Files in memory, with what they hold at the start. */
export function fakeFiles(texts: Readonly<Record<string, string>> = {}): FakeFiles {
  const files: FakeFiles = {
    texts: new Map(Object.entries(texts)),
    watches: new Set(),
    read: async (path) => files.texts.get(path),
    list: async (path) =>
      [...files.texts.keys()]
        .filter((file) => file.startsWith(`${path}/`))
        .map((file) => file.slice(path.length + 1)),
    watch: (_path, run) => {
      files.watches.add(run)
      return () => files.watches.delete(run)
    },
    write(path, text) {
      files.texts.set(path, text)
      for (const run of files.watches) run()
    },
  }
  return files
}
