/**
 * The hooks behind `host.run`: once per process, and without effect outside of a run.
 *
 * ```
 *   net.Socket.prototype.connect ─▶ in a run? a socket of that host : Node's own
 *   net.Server.prototype.listen · tls.connect · dgram.createSocket · dns.* · fetch ─▶ the same
 * ```
 *
 * `syncBuiltinESMExports` updates named imports that were made earlier. What was taken out of `require('tls')` before this ran
 * escapes; its sockets are recognised when they connect, and refused: inside a run nothing reaches the real network.
 */

import dgram from 'node:dgram'
import dns from 'node:dns'
import { syncBuiltinESMExports } from 'node:module'
import net, { isIP } from 'node:net'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import { NetkitError, socketError } from '@netkit/core'
import { currentHost } from './context.ts'
import { withErrno } from './node-error.ts'
import type { SocketHost } from './socket-host.ts'
import { hookHttpAgent } from './http-agents.ts'
import { originalConnect, originalListen } from './originals.ts'
import { hookTime } from './program-time.ts'
import { hookTlsTimeouts } from './tls-timeouts.ts'
import { datagramOn } from './virtual-dgram.ts'
import { listenOn } from './virtual-server.ts'
import { connectArguments, keepOpenBelowTls, socketOn, takeOver } from './virtual-socket.ts'

type Loose = (...args: unknown[]) => unknown

let isInstalled = false
let blocks = 0

/** Replaces the entry points. Idempotent. */
export function install(): void {
  hookTime()
  if (!isInstalled) {
    isInstalled = true
    hookNet()
    hookTls()
    hookTlsTimeouts()
    hookHttpAgent()
    hookDgram()
    hookDns()
    hookFetch()
  }
  syncBuiltinESMExports()
}

/**
 * Outside of `host.run`, connections, datagrams and lookups that would leave this machine fail, until the result is disposed of.
 * Loopback stays open: test runners use it.
 */
export function blockRealNetwork(): Disposable {
  install()
  blocks++
  let held = true
  return {
    [Symbol.dispose]() {
      if (held) blocks--
      held = false
    },
  }
}

const LOOPBACK = /^(?:localhost|127[.].*|::1|::ffff:127[.].*)$/

function refuseReal(syscall: string, host: string): Error | undefined {
  if (blocks === 0 || LOOPBACK.test(host)) return undefined
  return withErrno(
    socketError('ENETUNREACH', {
      syscall,
      address: host,
      reason:
        'a test tried to reach the real network. Run the code on a host of the test net: host.run(() => …), or allow it for this test',
    }),
  )
}

function hookNet(): void {
  const connect = originalConnect as Loose
  net.Socket.prototype.connect = function hooked(this: net.Socket, ...args: unknown[]): net.Socket {
    const [target, callback] = connectArguments(args)
    const host = currentHost()
    if (target.path !== undefined) return connect.apply(this, args) as net.Socket
    if (host === undefined) {
      const refused = refuseReal('connect', target.host ?? 'localhost')
      if (refused === undefined) return connect.apply(this, args) as net.Socket
      process.nextTick(() => this.destroy(refused))
      return this
    }
    if (this instanceof tls.TLSSocket) {
      throw new NetkitError(
        'NETKIT_TESTNET_HOOK',
        'tls.connect was taken from its module before the hooks of @netkit/testnet were there. Import @netkit/testnet/node first, or start Node with --import @netkit/testnet/register.',
      )
    }
    const virtual = takeOver(this, host)
    return callback === undefined ? virtual.connect(target) : virtual.connect(target, callback)
  }

  const listen = originalListen as Loose
  net.Server.prototype.listen = function hooked(this: net.Server, ...args: unknown[]): net.Server {
    const host = currentHost()
    const virtual = host === undefined ? undefined : listenOn(host, this, args)
    return virtual ?? (listen.apply(this, args) as net.Server)
  } as typeof net.Server.prototype.listen
}

function hookTls(): void {
  const connect = tls.connect as Loose
  tls.connect = function hooked(...args: unknown[]): tls.TLSSocket {
    const host = currentHost()
    const [target, callback] = connectArguments(args)
    const given = args.filter((each) => typeof each === 'object' && each !== null)
    const options = Object.assign({}, ...given, target) as tls.ConnectionOptions
    // https says null where it means nothing.
    if (host === undefined || target.path !== undefined || options.socket instanceof Duplex) {
      const secure = connect(...args) as tls.TLSSocket
      keepOpenBelowTls(options.socket, true)
      return secure
    }
    const socket = socketOn(host)
    const { timeout, ...rest } = options
    const plain = { port: options.port ?? 0, host: options.host ?? 'localhost' }
    const { lookup } = options
    const secure = connect({ ...rest, socket }, callback) as tls.TLSSocket
    keepOpenBelowTls(socket, true)
    if (timeout !== undefined) secure.setTimeout(timeout)
    socket.connect({ ...plain, ...(lookup && { lookup }) })
    return secure
  }
}

function hookDgram(): void {
  const create = dgram.createSocket as Loose
  dgram.createSocket = function hooked(
    type: dgram.SocketType | dgram.SocketOptions,
    onMessage?: (...args: unknown[]) => void,
  ): dgram.Socket {
    const host = currentHost()
    if (host === undefined) return create(type, onMessage) as dgram.Socket
    return datagramOn(host, typeof type === 'string' ? { type } : type, onMessage)
  } as typeof dgram.createSocket

  const prototype = dgram.Socket.prototype as unknown as Record<'send' | 'connect', Loose>
  for (const method of ['send', 'connect'] as const) {
    const real = prototype[method]
    prototype[method] = function hooked(this: dgram.Socket, ...args: unknown[]): unknown {
      // send(message, …, port, address?, callback?), connect(port, address?, callback?)
      const [first, ...rest] = args
      const address = (method === 'send' ? rest : args).find((each) => typeof each === 'string')
      const refused = refuseReal(method, address ?? 'localhost')
      if (refused === undefined) return real.call(this, first, ...rest)
      const callback = args.at(-1)
      if (typeof callback === 'function') process.nextTick(callback, refused)
      else process.nextTick(() => this.emit('error', refused))
      return undefined
    }
  }
}

function hookFetch(): void {
  const real = globalThis.fetch
  globalThis.fetch = function hooked(input, init) {
    const host = currentHost()
    if (host === undefined) return real(input, init)
    return real(input, { dispatcher: host.dispatcher, ...init } as RequestInit)
  }
}

interface LookupOptions {
  readonly all?: boolean
  readonly family?: number | string
}

async function lookUp(
  host: SocketHost,
  name: string,
  options: LookupOptions,
): Promise<{ address: string; family: number }[]> {
  const family = isIP(name)
  if (family !== 0) return [{ address: name, family }]
  if (options.family === 6 || options.family === 'IPv6') {
    throw named(socketError('ENOTFOUND', { syscall: 'getaddrinfo', address: name }), name)
  }
  try {
    return (await host.resolver.resolve(name)).map((address) => ({ address, family: 4 }))
  } catch (error) {
    throw named(error, name)
  }
}

const named = (error: unknown, hostname: string): Error =>
  Object.assign(withErrno(error), { hostname })

const asked = (options: unknown): LookupOptions =>
  typeof options === 'number' ? { family: options } : (options ?? {})

function hookDns(): void {
  const real = { lookup: dns.lookup as unknown as Loose, promised: dns.promises.lookup as Loose }

  dns.lookup = function hooked(name: string, ...rest: unknown[]): void {
    const host = currentHost()
    const callback = rest.at(-1) as Loose
    const options = asked(rest.length > 1 ? rest[0] : undefined)
    if (host === undefined) {
      const refused = refuseReal('getaddrinfo', name)
      if (refused === undefined) real.lookup(name, ...rest)
      else process.nextTick(() => callback(refused))
      return
    }
    const answer = async (): Promise<void> => {
      let found
      try {
        found = await lookUp(host, name, options)
      } catch (error) {
        process.nextTick(() => callback(error))
        return
      }
      const [first] = found
      process.nextTick(() =>
        options.all === true
          ? callback(null, found)
          : callback(null, first?.address, first?.family),
      )
    }
    void answer()
  } as typeof dns.lookup

  dns.promises.lookup = async function hooked(name: string, given?: unknown): Promise<unknown> {
    const host = currentHost()
    if (host === undefined) {
      const refused = refuseReal('getaddrinfo', name)
      if (refused !== undefined) throw refused
      return real.promised(name, given)
    }
    const options = asked(given)
    const found = await lookUp(host, name, options)
    return options.all === true ? found : found[0]
  } as typeof dns.promises.lookup

  hookQueries()
}

const QUERIES = (
  'resolve resolve4 resolve6 resolveAny resolveCaa resolveCname resolveMx resolveNaptr resolveNs resolvePtr resolveSoa ' +
  'resolveSrv resolveTlsa resolveTxt reverse'
).split(' ')

/** c-ares has sockets of its own: inside a run its queries are answered by the host's resolver, or refused. */
function hookQueries(): void {
  for (const target of [dns, dns.Resolver.prototype] as unknown as Record<string, Loose>[]) {
    for (const name of QUERIES) hookQuery(target, name)
  }
  const promised = [dns.promises, dns.promises.Resolver.prototype]
  for (const target of promised as unknown as Record<string, Loose>[]) {
    for (const name of QUERIES) hookPromisedQuery(target, name)
  }
}

function hookQuery(target: Record<string, Loose>, name: string): void {
  const real = target[name]
  if (real === undefined) return
  target[name] = function hooked(this: unknown, ...args: unknown[]): unknown {
    const host = currentHost()
    const callback = args.at(-1) as Loose
    if (host === undefined) {
      const refused = refuseReal(name, String(args[0]))
      if (refused === undefined) return real.apply(this, args)
      process.nextTick(callback, refused)
      return undefined
    }
    void query(host, name, args).then(
      (found) => process.nextTick(() => callback(null, found)),
      (error: unknown) => process.nextTick(() => callback(error)),
    )
    return undefined
  }
}

function hookPromisedQuery(target: Record<string, Loose>, name: string): void {
  const real = target[name]
  if (real === undefined) return
  target[name] = function hooked(this: unknown, ...args: unknown[]): unknown {
    const host = currentHost()
    if (host !== undefined) return query(host, name, args)
    const refused = refuseReal(name, String(args[0]))
    return refused === undefined ? real.apply(this, args) : Promise.reject(refused)
  }
}

async function query(
  host: SocketHost,
  method: string,
  [name, kind]: readonly unknown[],
): Promise<(string | { address: string; ttl: number })[]> {
  const type = method === 'resolve' && typeof kind === 'string' ? kind : TYPES[method]
  if (type === 'AAAA') {
    // A net of one family: names have no AAAA here.
    throw Object.assign(new Error(`queryAaaa ENODATA ${String(name)}`), {
      code: 'ENODATA',
      syscall: 'queryAaaa',
      hostname: String(name),
    })
  }
  if (type !== 'A') {
    throw withErrno(
      socketError('ENOTSUP', {
        syscall: method,
        address: String(name),
        reason:
          'on virtual hosts dns.lookup, resolve and resolve4 answer; other records need a DNS client over dgram',
      }),
    )
  }
  try {
    const addresses = await host.resolver.resolve(String(name))
    const withTtl = typeof kind === 'object' && kind !== null && 'ttl' in kind && kind.ttl === true
    return withTtl ? addresses.map((address) => ({ address, ttl: 0 })) : [...addresses]
  } catch (error) {
    throw Object.assign(named(error, String(name)), { syscall: 'queryA' })
  }
}

/** What a method asks for by default. */
const TYPES: Readonly<Record<string, string>> = { resolve: 'A', resolve4: 'A', resolve6: 'AAAA' }
