/** Whose code a path leads to: whoever can write a component of it can choose what is run. */

import { lstatSync, realpathSync } from 'node:fs'
import { dirname } from 'node:path'

/** What is looked at of a file. */
export interface OwnedFile {
  readonly uid: number
  readonly mode: number
}

/** The files that are looked at. */
export interface OwnershipFiles {
  realpath(path: string): string
  lstat(path: string): OwnedFile
}

const hostFiles: OwnershipFiles = { realpath: realpathSync, lstat: lstatSync }

/** Write permission for group or others, stat(2). */
const WRITABLE_BY_OTHERS = 0o022

/**
 * The first component of `path` (from its end, after symbolic links) that somebody besides root can change; `undefined` when there
 * is none. Throws when the path does not exist.
 */
export function changeableComponent(
  path: string,
  files: OwnershipFiles = hostFiles,
): string | undefined {
  for (let component = files.realpath(path); ; component = dirname(component)) {
    const { mode, uid } = files.lstat(component)
    if (uid !== 0 || (mode & WRITABLE_BY_OTHERS) !== 0) return component
    if (component === dirname(component)) return undefined
  }
}
