/** What can be wrong with the path of a unix socket, found out before and after the kernel is asked. */

import { chmodSync, lstatSync, statSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { errorCode, socketError } from '../errors.ts'
import { SOCKET_FILE_MODE, SOCKET_PATH_BYTES } from './limits.ts'

/** Named pipes of Windows and abstract names of Linux are no files. */
export function isSocketFile(path: string): boolean {
  return process.platform !== 'win32' && !path.startsWith('\0')
}

/**
 * Refuses a path the kernel would cut off silently, or refuse without saying why.
 *
 * @throws SocketError `EINVAL` for none at all, `ENAMETOOLONG`; for `listen` also `ENOENT` or `ENOTDIR` when there is no such directory.
 */
export function checkSocketPath(path: string, syscall: 'listen' | 'connect'): void {
  if (path === '') {
    const reason = 'an empty path names no socket; write one, such as /tmp/net.sock'
    throw socketError('EINVAL', { syscall, address: path, reason })
  }
  if (!isSocketFile(path)) return
  const length = Buffer.byteLength(path)
  if (length > SOCKET_PATH_BYTES) {
    throw socketError('ENAMETOOLONG', {
      syscall,
      address: path,
      reason: `the path has ${length} bytes and a unix socket's may have ${SOCKET_PATH_BYTES}; use a shorter directory`,
    })
  }
  if (syscall === 'connect') return
  const directory = dirname(path)
  const stat = statSync(directory, { throwIfNoEntry: false })
  if (stat === undefined) {
    const reason = `the directory ${directory} does not exist; create it first`
    throw socketError('ENOENT', { syscall, address: path, reason })
  }
  if (!stat.isDirectory()) {
    throw socketError('ENOTDIR', {
      syscall,
      address: path,
      reason: `${directory} is not a directory`,
    })
  }
}

/**
 * Runs `listen`, which creates the socket's file before it returns, so that only its owner can open it.
 * A worker may not set the umask; there the mode is set right after.
 */
export function withPrivateMode(path: string, listen: () => void): void {
  let umask: number | undefined
  try {
    umask = process.umask(0o777 & ~SOCKET_FILE_MODE)
  } catch {
    umask = undefined
  }
  try {
    listen()
  } finally {
    if (umask !== undefined) process.umask(umask)
  }
  if (umask !== undefined) return
  try {
    chmodSync(path, SOCKET_FILE_MODE)
  } catch (error) {
    // The listen failed; its own error says more.
    if (errorCode(error) !== 'ENOENT') throw error
  }
}

/**
 * What to do about a path that is taken: a socket that nobody listens on any more is removed.
 *
 * @throws SocketError `EADDRINUSE` with the reason, when somebody listens or the file is no socket.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  const inUse = (reason: string): Error =>
    socketError('EADDRINUSE', { syscall: 'listen', address: path, reason })
  if (!stat.isSocket()) throw inUse('a file that is not a socket has this name; it was left alone')
  const code = await probe(path)
  if (code === undefined)
    throw inUse('another process listens on it; stop it or choose another path')
  if (code === 'ENOENT') return
  if (code !== 'ECONNREFUSED') {
    throw inUse(`whether somebody listens on it could not be found out (${code})`)
  }
  unlinkSync(path)
}

/** The code of the failure to connect; `undefined` when somebody answered. */
function probe(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.on('connect', () => {
      socket.destroy()
      resolve(undefined)
    })
    socket.on('error', (error) => resolve(errorCode(error) ?? 'unknown'))
  })
}
