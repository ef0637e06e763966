/**
 * The C library through koffi, an optional peer dependency: loaded when it is first needed, and missed in clear words.
 */

import { NetkitError } from '@netkit/core'

/** Calls that both kinds of descriptor need. Numbers below 0 are `-errno`. */
export interface Libc {
  /** Defines a function by its C prototype; the result of a failed call is `-errno`. */
  call(prototype: string): (...parameters: unknown[]) => number
  /** poll(2) on a thread of the pool. */
  poll(
    descriptors: Uint8Array,
    count: number,
    timeoutMs: number,
    done: (result: number) => void,
  ): void
  pipe(): [read: number, write: number]
  write(fd: number, bytes: Uint8Array, length: number): number
  read(fd: number, bytes: Uint8Array, length: number): number
  close(fd: number): number
}

let loaded: Promise<Libc> | undefined

/** @param what - What koffi is needed for, for the error. */
export function loadLibc(what: string): Promise<Libc> {
  loaded ??= load()
  return loaded.catch((error: unknown) => {
    loaded = undefined
    throw new NetkitError(
      'NETKIT_KOFFI_MISSING',
      `${what} needs the package koffi, which could not be loaded. Install it beside @netkit/frames: npm install koffi`,
      { cause: error },
    )
  })
}

async function load(): Promise<Libc> {
  const { default: koffi } = await import('koffi')
  // Node's own symbols: its C library, be it glibc, musl or Apple's.
  const library = koffi.load(null)
  const call = (prototype: string): ((...parameters: unknown[]) => number) => {
    const run = library.func(prototype) as (...parameters: unknown[]) => number | bigint
    return (...parameters) => {
      const result = Number(run(...parameters))
      return result < 0 ? -koffi.errno() : result
    }
  }
  const poll = library.func('int poll(void *fds, unsigned long count, int timeout)')
  const pipe = call('int pipe(void *fds)')
  return {
    call,
    poll: (descriptors, count, timeoutMs, done) =>
      poll.async(descriptors, count, timeoutMs, (_error: unknown, result: number) => done(result)),
    pipe() {
      const fds = new Int32Array(2)
      const result = pipe(fds)
      if (result < 0) throw systemError('pipe', result)
      return [fds[0] ?? -1, fds[1] ?? -1]
    },
    write: call('intptr_t write(int fd, const void *bytes, size_t length)'),
    read: call('intptr_t read(int fd, void *bytes, size_t length)'),
    close: call('int close(int fd)'),
  }
}

/** The errnos that are told apart; macOS numbers some differently. */
export interface ErrnoNumbers {
  readonly EAGAIN: number
  readonly ENOBUFS: number
  readonly EADDRINUSE: number
  readonly ECONNREFUSED: number
}

/** Numbers of Linux and of macOS. */
export function errnoOf(platform: string): ErrnoNumbers {
  return platform === 'darwin'
    ? { EAGAIN: 35, ENOBUFS: 55, EADDRINUSE: 48, ECONNREFUSED: 61 }
    : { EAGAIN: 11, ENOBUFS: 105, EADDRINUSE: 98, ECONNREFUSED: 111 }
}

/** A failed call that the caller does not explain further. */
export function systemError(call: string, result: number): NetkitError {
  return new NetkitError('NETKIT_SYSTEM_CALL', `${call} failed with errno ${-result}.`)
}
