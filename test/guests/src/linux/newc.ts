/**
 * The "newc" cpio archive: what Linux unpacks into its initial root file system
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 *
 * Each entry is a header of 110 ASCII characters, the name with a NUL, padding to 4 bytes, the data, padding to 4 bytes; the
 * entry `TRAILER!!!` ends the archive. Device nodes are not needed: devtmpfs makes them.
 */

/** One entry of the archive. Paths are relative to the root, without a leading slash. */
export type ArchiveEntry =
  | {
      readonly type: 'file'
      readonly path: string
      readonly data: Uint8Array
      readonly mode?: number
    }
  | { readonly type: 'folder'; readonly path: string; readonly mode?: number }
  | { readonly type: 'link'; readonly path: string; readonly target: string }

const FILE = 0o100000
const FOLDER = 0o040000
const LINK = 0o120000

const padding = (length: number): number => (4 - (length % 4)) % 4

/** Mode and data of an entry, as the header and the body say them. */
function modeAndData(entry: ArchiveEntry): [mode: number, data: Uint8Array] {
  if (entry.type === 'file') return [FILE | (entry.mode ?? 0o644), entry.data]
  if (entry.type === 'link') return [LINK | 0o777, Buffer.from(entry.target)]
  return [FOLDER | (entry.mode ?? 0o755), new Uint8Array()]
}

function pushEntry(
  out: Uint8Array[],
  index: number,
  path: string,
  mode: number,
  data: Uint8Array,
): void {
  const name = Buffer.from(`${path}\0`)
  const fields = [
    index, // inode
    mode,
    0, // uid
    0, // gid
    1, // links
    0, // mtime: the same input gives the same archive
    data.length,
    0, // device major, minor
    0,
    0, // device node major, minor
    0,
    name.length,
    0, // checksum: "newc" has none
  ]
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
  out.push(
    Buffer.from(header),
    name,
    new Uint8Array(padding(header.length + name.length)),
    data,
    new Uint8Array(padding(data.length)),
  )
}

/** Packs the entries, and every folder above them that is not an entry itself, in the order given. */
export function newcArchive(entries: Iterable<ArchiveEntry>): Buffer {
  const out: Uint8Array[] = []
  const known = new Set<string>(['', '.'])
  let index = 0
  // The root itself must be passable for daemons that are not root.
  pushEntry(out, ++index, '.', FOLDER | 0o755, new Uint8Array())
  for (const entry of entries) {
    const parts = entry.path.split('/')
    for (let depth = 1; depth < parts.length; depth++) {
      const folder = parts.slice(0, depth).join('/')
      if (known.has(folder)) continue
      known.add(folder)
      pushEntry(out, ++index, folder, FOLDER | 0o755, new Uint8Array())
    }
    if (entry.type === 'folder') {
      if (known.has(entry.path)) continue
      known.add(entry.path)
    }
    pushEntry(out, ++index, entry.path, ...modeAndData(entry))
  }
  pushEntry(out, 0, 'TRAILER!!!', 0, new Uint8Array())
  return Buffer.concat(out)
}
