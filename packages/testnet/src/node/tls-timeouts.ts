/**
 * `setTimeout` of TLS sockets over virtual ones: it follows the net's clock, as that of the socket below does.
 *
 * A `TLSSocket` has a native handle and Node's own timer, so its method is replaced, and a read or a write restarts our timer too
 * (`_unrefTimer` is what Node calls for each).
 */

import { TLSSocket } from 'node:tls'
import type { Timer } from '@netkit/core'
import { originalTlsTimeout } from './originals.ts'
import { placeOf } from './virtual-socket.ts'

interface Internals {
  /** Knows the stream that the socket was made over, in Node's wrapper for streams without a handle. */
  _handle?: { _parentWrap?: { stream?: unknown } } | null
  _unrefTimer(): void
}

const idle = new WeakMap<TLSSocket, Timer>()

/** Replaces the methods. */
export function hookTlsTimeouts(): void {
  const prototype = TLSSocket.prototype as unknown as Internals
  // oxlint-disable-next-line typescript/unbound-method, no-underscore-dangle -- called with its socket; the name is Node's
  const touch = prototype._unrefTimer
  // oxlint-disable-next-line no-underscore-dangle -- as above
  prototype._unrefTimer = function hooked(this: TLSSocket & Internals) {
    if (idle.has(this)) restart(this)
    touch.call(this)
  }
  TLSSocket.prototype.setTimeout = setTimeoutOnNet
}

function setTimeoutOnNet(this: TLSSocket, ms: number, callback?: () => void): TLSSocket {
  if (placeBelow(this) === undefined) return originalTlsTimeout.call(this, ms, callback)
  // Node's own bookkeeping, and no timer of its own.
  originalTlsTimeout.call(this, 0, callback)
  Object.assign(this, { timeout: ms })
  if (ms > 0 && callback !== undefined) this.once('timeout', callback)
  restart(this)
  return this
}

/** Where the socket below belongs. */
function placeBelow(socket: TLSSocket): ReturnType<typeof placeOf> {
  // oxlint-disable-next-line no-underscore-dangle -- as above
  return placeOf((socket as unknown as Internals)._handle?._parentWrap?.stream)
}

function restart(socket: TLSSocket): void {
  idle.get(socket)?.cancel()
  idle.delete(socket)
  const place = placeBelow(socket)
  const { timeout } = socket
  if (place === undefined || timeout === undefined || timeout === 0 || socket.destroyed) return
  const tell = (): void => {
    if (!socket.destroyed) socket.emit('timeout')
  }
  idle.set(
    socket,
    place.host.clock.after(timeout, () => place.scope.runInAsyncScope(tell)),
  )
}
