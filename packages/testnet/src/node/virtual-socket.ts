/**
 * A `net.Socket` on a virtual host: a true subclass without a native handle.
 *
 * ```
 *   new net.Socket() ── connect() on a host ──▶ its prototype becomes VirtualSocket's, its state hangs on a symbol
 *   lookup ─▶ connectionAttempt ─▶ Network.connect ─▶ connect, ready
 *   stream events ─▶ the socket's own async scope ─▶ 'data', 'end', 'error', 'close'
 * ```
 *
 * A socket that the program made itself is taken over (drivers make one first and connect it later), so there are no private
 * fields here. Callbacks run in the scope in which the socket was connected or accepted: frames travel by microtasks of other
 * hosts, and a program must never find itself on another's host.
 * `setTimeout` follows the net's clock.
 */

import { AsyncResource } from 'node:async_hooks'
import { isIP, Socket } from 'node:net'
import type { AddressInfo, LookupFunction, SocketConstructorOpts } from 'node:net'
import { Block, ipFamily, isIpEndpoint, socketError } from '@netkit/core'
import type {
  ByteStream,
  CloseReason,
  Endpoint,
  Network,
  ReadTarget,
  Room,
  Timer,
} from '@netkit/core'
import { callSite } from '../call-site.ts'
import { SOCKET_QUEUE_BYTES, SOCKET_READ_BYTES } from '../limits.ts'
import { hold, release } from './keep-alive.ts'
import { assertPort, withErrno } from './node-error.ts'
import type { SocketHost } from './socket-host.ts'

const STATE: unique symbol = Symbol('netkit virtual socket')

type Callback = (error?: Error | null) => void

/** What `connect` takes. */
export interface ConnectTarget {
  readonly port?: number | string
  readonly host?: string
  readonly path?: string
  readonly localAddress?: string
  readonly localPort?: number
  readonly lookup?: LookupFunction
  readonly timeout?: number
  readonly signal?: AbortSignal
}

class SocketState {
  readonly host: SocketHost
  readonly scope: AsyncResource
  stream: ByteStream | undefined
  target: ReadTarget | undefined
  wantsMore = false
  bytesRead = 0
  bytesWritten = 0
  pending: Callback | undefined
  final: Callback | undefined
  isClosed = false
  hasConnected = false
  idle: Timer | undefined
  /** While it connects. */
  cancel: AbortController | undefined

  constructor(host: SocketHost) {
    this.host = host
    this.scope = new AsyncResource('NETKITSOCKET')
  }
}

/** See above. Made by `socketOn` and `acceptedSocket`. */
export class VirtualSocket extends Socket {
  declare [STATE]: SocketState
  declare connecting: boolean

  override connect(...args: unknown[]): this {
    const [target, callback] = connectArguments(args)
    assertPort(target.port)
    if (callback !== undefined) this.once('connect', callback)
    this.connecting = true
    if (target.timeout !== undefined) this.setTimeout(target.timeout)
    hold(this)
    void open(this, target, this[STATE].host.networkAt(callSite()))
    return this
  }

  override _read(): void {
    const state = this[STATE]
    state.wantsMore = true
    if (state.stream === undefined) return
    state.stream.read((state.target ??= new SocketTarget(this)))
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: Callback): void {
    // oxlint-disable-next-line no-underscore-dangle -- the name is Node's
    this._writev([{ chunk, encoding }], callback)
  }

  override _writev(
    chunks: { chunk: Buffer | string; encoding: BufferEncoding }[],
    callback: Callback,
  ): void {
    const state = this[STATE]
    const { stream } = state
    if (stream === undefined) {
      // oxlint-disable-next-line no-underscore-dangle -- as above
      whenConnected(this, callback, () => this._writev(chunks, callback))
      return
    }
    stream.cork()
    for (const { chunk, encoding } of chunks) {
      const bytes =
        typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Uint8Array.from(chunk)
      state.bytesWritten += bytes.length
      stream.write(new Block(bytes), 0, bytes.length)
    }
    stream.uncork()
    touch(this)
    if (stream.queued <= SOCKET_QUEUE_BYTES) callback()
    else state.pending = callback
  }

  override _final(callback: Callback): void {
    const state = this[STATE]
    if (state.stream === undefined) {
      // oxlint-disable-next-line no-underscore-dangle -- as above
      whenConnected(this, callback, () => this._final(callback))
      return
    }
    state.final = callback
    state.stream.end()
    drained(this)
  }

  override _destroy(error: Error | null, callback: Callback): void {
    const state = this[STATE]
    const { stream } = state
    this.connecting = false
    state.idle?.cancel()
    release(this)
    if (stream === undefined) state.cancel?.abort(new Error('the socket was destroyed'))
    else if (!state.isClosed) {
      // close(2), with or without an error: FIN, but RST where bytes that arrived were not read (RFC 2525 2.17).
      if (this.readableEnded) stream.end()
      else if (!endOrderly(this, stream)) stream.reset()
    }
    // oxlint-disable-next-line no-underscore-dangle -- as above
    super._destroy(error, callback)
  }

  override resetAndDestroy(): this {
    this[STATE].stream?.reset()
    return this.destroy()
  }

  override setTimeout(ms: number, callback?: () => void): this {
    const state = this[STATE]
    Object.assign(this, { timeout: ms })
    if (callback !== undefined) {
      if (ms === 0) this.removeListener('timeout', callback)
      else this.once('timeout', callback)
    }
    state.idle?.cancel()
    state.idle = undefined
    if (ms > 0) touch(this)
    return this
  }

  override ref(): this {
    if (!this.destroyed) hold(this)
    return this
  }

  override unref(): this {
    release(this)
    return this
  }

  override setNoDelay(): this {
    return this
  }

  override setKeepAlive(): this {
    return this
  }

  override address(): AddressInfo | object {
    const local = endOf(this[STATE].stream?.local)
    return local === undefined ? {} : { ...local, port: local.port }
  }
}

// Socket's types have these as properties; they are accessors of its prototype.
Object.defineProperties(VirtualSocket.prototype, {
  pending: shown((state) => state.stream === undefined),
  bytesRead: shown((state) => state.bytesRead),
  bytesWritten: shown((state) => state.bytesWritten),
  localAddress: shown(({ stream }) => endOf(stream?.local)?.address),
  localPort: shown(({ stream }) => endOf(stream?.local)?.port),
  localFamily: shown(({ stream }) => endOf(stream?.local)?.family),
  remoteAddress: shown(({ stream }) => endOf(stream?.remote)?.address),
  remotePort: shown(({ stream }) => endOf(stream?.remote)?.port),
  remoteFamily: shown(({ stream }) => endOf(stream?.remote)?.family),
})

function shown(show: (state: SocketState) => unknown): PropertyDescriptor {
  return {
    get(this: VirtualSocket) {
      return show(this[STATE])
    },
    configurable: true,
  }
}

async function open(socket: VirtualSocket, target: ConnectTarget, network: Network): Promise<void> {
  const state = socket[STATE]
  const { host } = state
  const cancel = new AbortController()
  state.cancel = cancel
  const { port, localAddress, localPort, signal } = target
  const name = target.host ?? 'localhost'
  try {
    const ip = await lookUp(socket, name, target.lookup)
    if (socket.destroyed) return
    socket.emit('connectionAttempt', ip, Number(port), 4)
    const from =
      localAddress === undefined && localPort === undefined
        ? undefined
        : { ip: localAddress ?? host.ip, port: localPort ?? 0 }
    const all = signal === undefined ? cancel.signal : AbortSignal.any([signal, cancel.signal])
    const to = { ip, port: Number(port) }
    const stream = await network.connect(to, { signal: all, ...(from && { from }) })
    if (socket.destroyed) stream.reset()
    else state.scope.runInAsyncScope(() => connected(socket, stream))
  } catch (error) {
    if (!socket.destroyed) state.scope.runInAsyncScope(() => socket.destroy(withErrno(error)))
  }
}

async function lookUp(
  socket: VirtualSocket,
  name: string,
  lookup: LookupFunction | undefined,
): Promise<string> {
  if (isIP(name) !== 0) return name
  try {
    const ip =
      lookup === undefined
        ? ((await socket[STATE].host.resolver.resolve(name))[0] ?? '')
        : await askLookup(lookup, name)
    socket.emit('lookup', null, ip, 4, name)
    return ip
  } catch (error) {
    const named = Object.assign(withErrno(error), { hostname: name })
    socket.emit('lookup', named, undefined, undefined, name)
    throw named
  }
}

function connected(socket: VirtualSocket, stream: ByteStream): void {
  socket.connecting = false
  socket[STATE].cancel = undefined
  attach(socket, stream)
  socket.emit('connect')
  socket.emit('ready')
  // As net.Socket does once it is connected: bytes may be on their way.
  if (!socket.isPaused()) socket.read(0)
}

function whenConnected(socket: VirtualSocket, callback: Callback, run: () => void): void {
  if (!socket.connecting) {
    callback(withErrno(socketError('EPIPE', { syscall: 'write' })))
    return
  }
  const closed = (): void => {
    const error = new Error('Socket closed before the connection was established')
    callback(Object.assign(error, { code: 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION' }))
  }
  socket.once('connect', () => {
    socket.off('close', closed)
    run()
  })
  socket.once('close', closed)
}

/** Makes a socket of the program's one of the host; nothing happened on it yet. */
export function takeOver(socket: Socket, host: SocketHost): VirtualSocket {
  if (!(socket instanceof VirtualSocket)) Object.setPrototypeOf(socket, VirtualSocket.prototype)
  const virtual = socket as VirtualSocket
  const had = Object.hasOwn(virtual, STATE)
  if (had && virtual[STATE].stream === undefined && !virtual[STATE].hasConnected) return virtual
  const timeout = virtual.timeout
  virtual[STATE] = new SocketState(host)
  virtual[STATE].host.sockets.add(virtual)
  virtual.once('close', forget)
  virtual.on('newListener', tellLate)
  if (timeout !== undefined && timeout > 0) virtual.setTimeout(timeout)
  return virtual
}

function forget(this: VirtualSocket): void {
  this[STATE].host.sockets.delete(this)
}

/** TLSSocket and others wait for 'connect' of a socket without a handle, also when it was connected all along. */
function tellLate(this: VirtualSocket, event: string, listener: () => void): void {
  if (event !== 'connect' || !this[STATE].hasConnected) return
  process.nextTick(() => {
    if (!this.destroyed) listener.call(this)
  })
}

/** Where a virtual socket belongs; `undefined` for whatever else. */
export function placeOf(
  socket: unknown,
): { readonly host: SocketHost; readonly scope: AsyncResource } | undefined {
  return socket instanceof VirtualSocket ? socket[STATE] : undefined
}

/** A socket of the host that is not connected. */
export function socketOn(host: SocketHost, options: SocketConstructorOpts = {}): VirtualSocket {
  return takeOver(new Socket(options), host)
}

/** A socket over a stream that the host accepted. */
export function acceptedSocket(
  host: SocketHost,
  stream: ByteStream,
  options: { allowHalfOpen: boolean; pauseOnCreate: boolean },
): VirtualSocket {
  const socket = takeOver(new Socket({ allowHalfOpen: options.allowHalfOpen }), host)
  attach(socket, stream)
  hold(socket)
  if (options.pauseOnCreate) socket.pause()
  else socket.read(0)
  return socket
}

/** TLS decides when its socket is done: FIN from the peer must not close what TLS still has to answer. */
export function keepOpenBelowTls(socket: unknown, isBelowTls: boolean): void {
  if (isBelowTls && socket instanceof VirtualSocket) socket.allowHalfOpen = true
}

function attach(socket: VirtualSocket, stream: ByteStream): void {
  const state = socket[STATE]
  state.stream = stream
  state.hasConnected = true
  stream.onDrain(() => state.scope.runInAsyncScope(() => drained(socket)))
  void stream.closed.then((reason) =>
    state.scope.runInAsyncScope(() => streamClosed(socket, reason)),
  )
  if (state.wantsMore) stream.read((state.target ??= new SocketTarget(socket)))
  touch(socket)
}

// Shared by all sockets: what is put there is copied out in the same call.
const ROOM: Room = {
  block: new Block(new Uint8Array(SOCKET_READ_BYTES)),
  offset: 0,
  length: SOCKET_READ_BYTES,
}

/** What the stream delivers goes to the socket's readable side, for as long as that wants more. */
class SocketTarget implements ReadTarget {
  readonly #socket: VirtualSocket

  constructor(socket: VirtualSocket) {
    this.#socket = socket
  }

  room(): Room | undefined {
    return this.#socket[STATE].wantsMore ? ROOM : undefined
  }

  filled(length: number): void {
    const state = this.#socket[STATE]
    state.bytesRead += length
    touch(this.#socket)
    const bytes = Buffer.from(ROOM.block.bytes.subarray(0, length))
    state.wantsMore = state.scope.runInAsyncScope(() => this.#socket.push(bytes))
  }

  end(): void {
    const socket = this.#socket
    socket[STATE].scope.runInAsyncScope(() => {
      socket.push(null)
      // Without a reader 'end' would never be seen (net.Socket's onReadableStreamEnd, too).
      if (socket.readableLength === 0) socket.read(0)
    })
  }
}

/** FIN where everything that came was read. Says whether that is so. */
function endOrderly(socket: VirtualSocket, stream: ByteStream): boolean {
  if (socket.readableLength > 0) return false
  stream.end()
  // Nobody reads any more; what still comes is met with RST.
  const block = new Block(new Uint8Array(1))
  stream.read({
    room: () => ({ block, offset: 0, length: 1 }),
    filled: () => stream.reset(),
    end() {
      // FIN from both sides: it is over.
    },
  })
  return true
}

function drained(socket: VirtualSocket): void {
  const state = socket[STATE]
  const queued = state.stream?.queued ?? 0
  if (queued <= SOCKET_QUEUE_BYTES) {
    const callback = state.pending
    state.pending = undefined
    callback?.()
  }
  // 'finish' promises what shutdown(2) does: the FIN is queued behind all bytes.
  const callback = state.final
  state.final = undefined
  callback?.()
}

function streamClosed(socket: VirtualSocket, reason: CloseReason): void {
  socket[STATE].isClosed = true
  if (reason.kind === 'fin') drained(socket)
  else if (!socket.destroyed) {
    const isOurs = reason.by === 'local' && reason.error === undefined
    const error = isOurs
      ? undefined
      : withErrno(reason.error ?? socketError('ECONNRESET', { syscall: 'read' }))
    socket.destroy(error)
  }
}

/** Restarts the idle timer. */
function touch(socket: VirtualSocket): void {
  const state = socket[STATE]
  const { timeout } = socket
  if (timeout === undefined || timeout === 0 || socket.destroyed) return
  state.idle?.cancel()
  state.idle = state.host.clock.after(timeout, () =>
    state.scope.runInAsyncScope(() => socket.emit('timeout')),
  )
}

function endOf(
  end: Endpoint | undefined,
): { address: string; port: number; family: string } | undefined {
  if (end === undefined || !isIpEndpoint(end)) return undefined
  return { address: end.ip, port: end.port, family: ipFamily(end.ip) === 6 ? 'IPv6' : 'IPv4' }
}

/** `connect(options)`, `connect(port, host)`, or what net.connect made of them: `connect([options, callback])`. */
export function connectArguments(
  args: readonly unknown[],
): [ConnectTarget, (() => void) | undefined] {
  const list = Array.isArray(args[0]) ? (args[0] as unknown[]) : args
  const callback = list.find((each) => typeof each === 'function') as (() => void) | undefined
  const [first, second] = list
  if (typeof first === 'object' && first !== null) {
    // http's agent says null where it means nothing.
    const given = Object.entries(first).filter(([, value]) => value !== null && value !== '')
    return [Object.fromEntries(given), callback]
  }
  if (typeof first === 'string' && Number.isNaN(Number(first))) return [{ path: first }, callback]
  const host = typeof second === 'string' ? { host: second } : {}
  return [{ port: Number(first), ...host }, callback]
}

function askLookup(lookup: LookupFunction, name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    lookup(name, { family: 4, hints: 0, all: false }, (error, address) => {
      if (error !== null && error !== undefined) reject(error)
      else resolve(typeof address === 'string' ? address : (address[0]?.address ?? ''))
    })
  })
}
