/**
 * Links over unix datagram sockets, which Node cannot open: vfkit and krunkit (`unixgram`), QEMU
 * (`-netdev dgram,local.type=unix,local.path=A,remote.type=unix,remote.path=B`).
 *
 * ```
 *   bind(path) ── a peer is given: connect(peer), again and again until it is there, and again when it refuses
 *              └─ none is given:   the sender of the first datagram is the peer; its "VFKT" is no frame
 * ```
 *
 * The socket is connected, because poll(POLLOUT) on an unconnected one always says writable. Frames for a peer that is not
 * there are lost, as on a wire (`unsent`). A peer that was restarted is found again by the next frame that it refuses, or,
 * where it was not given, by closing and opening the link.
 */

import { rmSync, statSync } from 'node:fs'
import { NetkitError, socketError } from '@netkit/core'
import type { Clock } from '@netkit/core'
import { DescriptorLink } from '../descriptor/descriptor-link.ts'
import { errnoOf, loadLibc, systemError, type Libc } from '../descriptor/koffi-libc.ts'
import type { FrameLink } from '../frame-link.ts'
import {
  DEFAULT_MTU_BYTES,
  DGRAM_CONNECT_RETRY_MS,
  DGRAM_RECEIVE_BUFFER_BYTES,
  DGRAM_SEND_BUFFER_BYTES,
} from '../limits.ts'

const AF_UNIX = 1
const SOCK_DGRAM = 2
const ADDRESS_BYTES = 110
const VFKIT_MAGIC = 'VFKT'
const MINUS_1 = -1

/** Options of `openUnixDatagram`. */
export interface UnixDatagramOptions {
  /** Where this end listens. A stale socket file is replaced. */
  path: string
  /** The peer's path, QEMU's `local.path`; it may appear later. Default: the sender of the first datagram. */
  peer?: string
  /** Default 1500. */
  mtu?: number
  clock?: Clock
  /** Bytes that may wait before there is no more credit. Default 1 MiB. */
  queueBytes?: number
}

/** A link over a unix datagram socket. */
export interface UnixDatagramLink extends FrameLink {
  /** The peer's path, once it is known. */
  readonly peer: string | undefined
  /** Whether the socket is connected to it. */
  readonly connected: boolean
  /** Frames for a peer that was not there. */
  readonly unsent: number
}

/** Layouts and numbers that differ between the systems. */
interface Platform {
  readonly pathBytes: number
  readonly solSocket: number
  readonly soSendBuffer: number
  readonly soReceiveBuffer: number
  readonly dontWait: number
  /** `struct sockaddr_un`: macOS has a length byte in front of a family byte, Linux a family of two. */
  readonly lengthByte: boolean
}

const LINUX: Platform = {
  pathBytes: 107,
  solSocket: 1,
  soSendBuffer: 7,
  soReceiveBuffer: 8,
  dontWait: 0x40,
  lengthByte: false,
}
// sys/socket.h and sys/un.h of macOS.
const MACOS: Platform = {
  pathBytes: 103,
  solSocket: 0xffff,
  soSendBuffer: 0x1001,
  soReceiveBuffer: 0x1002,
  dontWait: 0x80,
  lengthByte: true,
}

/** A `struct sockaddr_un` for `path`. */
export function encodeUnixAddress(path: string, platform: 'linux' | 'darwin'): Uint8Array {
  const { lengthByte, pathBytes } = platform === 'darwin' ? MACOS : LINUX
  const text = new TextEncoder().encode(path)
  if (text.length === 0 || text.length > pathBytes) {
    throw new NetkitError(
      'NETKIT_DGRAM_PATH',
      `The socket path ${path} has ${text.length} bytes; 1 to ${pathBytes} are possible. Take a shorter one, e.g. in /tmp.`,
    )
  }
  const address = new Uint8Array(2 + text.length + 1)
  if (lengthByte) address.set([address.length, AF_UNIX])
  else address.set([AF_UNIX, 0])
  address.set(text, 2)
  return address
}

/** Opens a link over a unix datagram socket. The file is removed when it closes. */
export async function openUnixDatagram(options: UnixDatagramOptions): Promise<UnixDatagramLink> {
  const { platform } = process
  if (platform !== 'linux' && platform !== 'darwin') {
    throw new NetkitError('NETKIT_DGRAM_UNSUPPORTED', `${platform} has no unix datagram sockets.`)
  }
  const address = encodeUnixAddress(options.path, platform)
  const peer = options.peer === undefined ? undefined : encodeUnixAddress(options.peer, platform)
  const libc = await loadLibc('A unix datagram socket')
  const constants = platform === 'darwin' ? MACOS : LINUX
  const fd = bindSocket(libc, options.path, address, constants, errnoOf(platform).EADDRINUSE)
  return new UnixDatagram(libc, fd, platform, constants, peer, options)
}

function bindSocket(
  libc: Libc,
  path: string,
  address: Uint8Array,
  platform: Platform,
  inUse: number,
): number {
  const socket = libc.call('int socket(int domain, int type, int protocol)')
  const bind = libc.call('int bind(int fd, const void *address, uint32_t length)')
  const connect = libc.call('int connect(int fd, const void *address, uint32_t length)')
  const setOption = libc.call(
    'int setsockopt(int fd, int level, int name, const void *value, uint32_t length)',
  )
  const fd = socket(AF_UNIX, SOCK_DGRAM, 0)
  if (fd < 0) throw systemError('socket', fd)
  const setSize = (name: number, bytes: number): number =>
    setOption(fd, platform.solSocket, name, Int32Array.of(bytes), 4)
  // The kernel may give less; then there is more EAGAIN, and nothing else changes.
  setSize(platform.soSendBuffer, DGRAM_SEND_BUFFER_BYTES)
  setSize(platform.soReceiveBuffer, DGRAM_RECEIVE_BUFFER_BYTES)
  // Between these two lines nothing else of this process can create a file.
  const mask = process.umask(0o177)
  let result = bind(fd, address, address.length)
  if (result === -inUse && statSync(path, { throwIfNoEntry: false })?.isSocket() === true) {
    const probe = socket(AF_UNIX, SOCK_DGRAM, 0)
    const alive = connect(probe, address, address.length) >= 0
    libc.close(probe)
    if (!alive) {
      rmSync(path)
      result = bind(fd, address, address.length)
    }
  }
  process.umask(mask)
  if (result >= 0) return fd
  libc.close(fd)
  throw result === -inUse
    ? socketError('EADDRINUSE', {
        syscall: 'bind',
        address: path,
        reason: 'another process listens there',
      })
    : socketError(result === -2 ? 'ENOENT' : result === -13 ? 'EACCES' : 'EINVAL', {
        syscall: 'bind',
        address: path,
        cause: systemError('bind', result),
      })
}

class UnixDatagram extends DescriptorLink implements UnixDatagramLink {
  readonly #connect: () => number
  readonly #path: string
  #peer: Uint8Array | undefined
  #connected = false
  #first = true
  #triedAt = Number.NEGATIVE_INFINITY

  constructor(
    libc: Libc,
    fd: number,
    system: 'linux' | 'darwin',
    platform: Platform,
    peer: Uint8Array | undefined,
    options: UnixDatagramOptions,
  ) {
    const { EAGAIN, ENOBUFS } = errnoOf(system)
    const receiveFrom = libc.call(
      'intptr_t recvfrom(int fd, void *bytes, size_t length, int flags, void *address, void *addressLength)',
    )
    const receive = libc.call('intptr_t recv(int fd, void *bytes, size_t length, int flags)')
    const send = libc.call('intptr_t send(int fd, const void *bytes, size_t length, int flags)')
    const connect = libc.call('int connect(int fd, const void *address, uint32_t length)')
    const from = new Uint8Array(ADDRESS_BYTES)
    const fromLength = new Uint32Array(1)
    super(
      libc,
      {
        fd,
        receive: (into, length) => {
          if (this.#peer !== undefined) return receive(fd, into, length, platform.dontWait)
          fromLength[0] = from.length
          const result = receiveFrom(fd, into, length, platform.dontWait, from, fromLength)
          // A peer without a path cannot be answered, so it is none.
          if (result >= 0 && (fromLength[0] ?? 0) > 2) this.#peerIs(from.slice(0, fromLength[0]))
          return result
        },
        send: (frame, length) =>
          this.#reach() ? send(fd, frame, length, platform.dontWait) : MINUS_1,
        wouldBlock: -EAGAIN,
        noBuffers: -ENOBUFS,
        close: () => {
          libc.close(fd)
          rmSync(options.path, { force: true })
        },
      },
      {
        mtu: options.mtu ?? DEFAULT_MTU_BYTES,
        clock: options.clock,
        queueBytes: options.queueBytes,
      },
    )
    this.#path = options.path
    this.#peer = peer
    this.#connect = () => {
      const { length = 0 } = this.#peer ?? {}
      return connect(fd, this.#peer, length)
    }
    this.#reach()
  }

  /** Where this end listens. */
  get path(): string {
    return this.#path
  }

  get peer(): string | undefined {
    const peer = this.#peer
    return peer && new TextDecoder().decode(peer.subarray(2)).replace(/\0.*$/s, '')
  }

  get connected(): boolean {
    return this.#connected
  }

  protected override sendFailed(): void {
    // The peer is gone, or was restarted and has made its file anew.
    this.#connected = false
  }

  protected override intercept(bytes: Uint8Array, offset: number, length: number): boolean {
    if (!this.#first) return false
    this.#first = false
    return (
      length === VFKIT_MAGIC.length &&
      String.fromCharCode(...bytes.subarray(offset, offset + length)) === VFKIT_MAGIC
    )
  }

  #peerIs(address: Uint8Array): void {
    this.#peer = address
    this.#reach()
  }

  /** Whether the socket is connected; tries it now and then. */
  #reach(): boolean {
    if (this.#connected) return true
    if (this.#peer === undefined) return false
    const now = this.clock.now()
    if (now - this.#triedAt < DGRAM_CONNECT_RETRY_MS) return false
    this.#triedAt = now
    this.#connected = this.#connect() >= 0
    if (this.#connected) this.#triedAt = Number.NEGATIVE_INFINITY
    return this.#connected
  }
}
