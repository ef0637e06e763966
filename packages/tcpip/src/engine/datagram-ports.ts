/** Datagram ports bound in the engine: the `Binder` half of its network. */

import { blockOf, socketError } from '@netkit/core'
import type { BindOptions, Block, DatagramFailure, DatagramPort, IpEndpoint } from '@netkit/core'
import type { UdpView } from '@netkit/frames'
import type { Address } from '../address.ts'
import { parseAddress } from '../address.ts'
import { EPHEMERAL_FIRST, EPHEMERAL_LAST, RESOLVE_QUEUE, UDP_PAYLOAD_MAX_BYTES } from '../limits.ts'
import type { EngineContext } from './context.ts'
import type { Neighbor } from './neighbors.ts'
import type { Packet } from './packet.ts'

/** What puts a datagram on a link. */
export interface DatagramSender {
  send(
    neighbor: Neighbor,
    source: Address,
    sourcePort: number,
    destination: Address,
    destinationPort: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
  ): boolean
}

/** Whether an address is `0.0.0.0` or `::`. */
export function isUnspecified(address: Address): boolean {
  return address.d === 0 && address.a === 0 && address.b === 0
}

/** One bound port. */
export class BoundPort implements DatagramPort {
  readonly local: IpEndpoint
  readonly connected: IpEndpoint | undefined
  readonly queued = 0
  readonly address: Address
  readonly portNumber: number
  readonly peer: Address | undefined
  readonly #ports: DatagramPorts
  #onMessage: ((bytes: Uint8Array, from: IpEndpoint) => void) | undefined
  #onError: ((failure: DatagramFailure) => void) | undefined
  /** The sender of the last datagram, most often that of the next. */
  #from: IpEndpoint | undefined
  #fromAddress: Address | undefined
  #closed = false

  constructor(
    ports: DatagramPorts,
    address: Address,
    portNumber: number,
    peer: Address | undefined,
    connected: IpEndpoint | undefined,
  ) {
    this.#ports = ports
    this.address = address
    this.portNumber = portNumber
    this.peer = peer
    this.local = { ip: address.text, port: portNumber }
    this.connected = connected
  }

  /** Whether a datagram is for this port, given that its number fits. */
  takes(packet: Packet, sourcePort: number, own: boolean): boolean {
    const { address } = this
    const forUs = isUnspecified(address)
      ? own && address.family === packet.family
      : address.is(packet.da, packet.db, packet.dc, packet.dd)
    return (
      forUs &&
      (!this.peer ||
        (this.connected?.port === sourcePort &&
          this.peer.is(packet.sa, packet.sb, packet.sc, packet.sd)))
    )
  }

  deliver(packet: Packet, sourcePort: number, bytes: Uint8Array): void {
    if (!this.#onMessage) return
    if (
      !this.#from ||
      this.#from.port !== sourcePort ||
      !this.#fromAddress?.is(packet.sa, packet.sb, packet.sc, packet.sd)
    ) {
      this.#fromAddress = packet.source()
      this.#from = { ip: this.#fromAddress.text, port: sourcePort }
    }
    this.#onMessage(bytes, this.#from)
  }

  fail(error: Error, to: IpEndpoint | undefined): void {
    this.#onError?.(to ? { error, to } : { error })
  }

  onMessage(run: ((bytes: Uint8Array, from: IpEndpoint) => void) | undefined): void {
    this.#onMessage = run
  }

  onError(run: ((failure: DatagramFailure) => void) | undefined): void {
    this.#onError = run
  }

  send(block: Block, offset: number, length: number, to?: IpEndpoint): void {
    if (!this.#closed) this.#ports.send(this, block, offset, length, to ?? this.connected)
    block.unpin()
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true
      this.#onMessage = undefined
      this.#onError = undefined
      this.#ports.remove(this)
    }
    return Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** The table of bound ports. */
export class DatagramPorts {
  readonly #engine: EngineContext
  readonly #udp: DatagramSender
  readonly #byNumber = new Map<number, BoundPort[]>()
  /** Datagrams that wait for their next hop. */
  #waiting = 0

  constructor(engine: EngineContext, udp: DatagramSender) {
    this.#engine = engine
    this.#udp = udp
  }

  all(): BoundPort[] {
    return [...this.#byNumber.values()].flat()
  }

  /** The port that takes a datagram; a connected one before a bound one, an address before the wildcard. */
  find(packet: Packet, udp: UdpView): BoundPort | undefined {
    const candidates = this.#byNumber.get(udp.destinationPort)
    if (!candidates) return undefined
    const own = packet.group || this.#engine.role.isOwn(packet.da, packet.db, packet.dc, packet.dd)
    let best: BoundPort | undefined
    for (const bound of candidates) {
      if (!bound.takes(packet, udp.sourcePort, own)) continue
      if (bound.peer) return bound
      if (!best || isUnspecified(best.address)) best = bound
    }
    return best
  }

  /** Binds. See `Binder.bind`; `mayBind` says whether the address can be taken on. */
  bind(at: IpEndpoint, options: BindOptions, mayBind: (address: Address) => boolean): BoundPort {
    options.signal?.throwIfAborted()
    const address = parseAddress(at.ip, 'bind')
    const where = { syscall: 'bind', address: at.ip, port: at.port }
    if (!isUnspecified(address) && !mayBind(address)) throw socketError('EADDRNOTAVAIL', where)
    const { connected } = options
    const peer = connected && parseAddress(connected.ip, 'connected')
    let { port } = at
    if (port === 0) port = this.#ephemeral(address)
    if (port === 0 || this.#taken(address, port)) throw socketError('EADDRINUSE', where)
    const bound = new BoundPort(this, address, port, peer, connected)
    const list = this.#byNumber.get(port)
    if (list) list.push(bound)
    else this.#byNumber.set(port, [bound])
    return bound
  }

  /** Sends for a bound port. The caller keeps its pin. */
  send(
    bound: BoundPort,
    block: Block,
    offset: number,
    length: number,
    to: IpEndpoint | undefined,
  ): void {
    const where = { syscall: 'send', ...(to && { address: to.ip, port: to.port }) }
    const { connected } = bound
    const astray = connected && to && (to.ip !== connected.ip || to.port !== connected.port)
    if (!to || astray) {
      const reason = to ? 'the port is connected to another peer' : 'no destination was given'
      bound.fail(socketError('EINVAL', { ...where, reason }), to)
      return
    }
    if (length > UDP_PAYLOAD_MAX_BYTES) {
      bound.fail(socketError('EMSGSIZE', where), to)
      return
    }
    const destination = bound.peer ?? parseAddress(to.ip, 'send')
    let kept: Block | undefined
    let waiting = false
    const neighbor = this.#engine.route(destination, (reachable) => {
      // Called at once where the next hop is known: then the bytes are still the caller's.
      if (!waiting) return
      this.#waiting--
      if (!reachable || !neighbor || !kept) bound.fail(socketError('EHOSTUNREACH', where), to)
      else this.#transmit(bound, neighbor, destination, to.port, kept, 0, length)
    })
    if (!neighbor) bound.fail(socketError('ENETUNREACH', where), to)
    else if (neighbor.reachable)
      this.#transmit(bound, neighbor, destination, to.port, block, offset, length)
    else if (this.#waiting >= RESOLVE_QUEUE) neighbor.port.drop('no-neighbor')
    else {
      waiting = true
      this.#waiting++
      kept = blockOf(block.bytes.slice(offset, offset + length))
    }
  }

  /** ICMP says that a peer cannot be reached: a connected port is told (RFC 1122 4.1.3.3). */
  unreachable(
    source: Address,
    sourcePort: number,
    peer: Address,
    peerPort: number,
    error: Error,
  ): boolean {
    const bound = this.#byNumber
      .get(sourcePort)
      ?.find((each) => each.address.equals(source) || isUnspecified(each.address))
    const connected = this.#byNumber
      .get(sourcePort)
      ?.find((each) => each.connected?.port === peerPort && each.peer?.equals(peer) === true)
    connected?.fail(error, connected.connected)
    return (connected ?? bound) !== undefined
  }

  remove(bound: BoundPort): void {
    const list = this.#byNumber.get(bound.portNumber)
    if (!list) return
    const index = list.indexOf(bound)
    if (index >= 0) list.splice(index, 1)
    if (list.length === 0) this.#byNumber.delete(bound.portNumber)
  }

  #transmit(
    bound: BoundPort,
    neighbor: Neighbor,
    destination: Address,
    destinationPort: number,
    block: Block,
    offset: number,
    length: number,
  ): void {
    const source = isUnspecified(bound.address)
      ? this.#engine.addressTowards(neighbor, destination)
      : bound.address
    if (!source) {
      const { text } = destination
      const where = { syscall: 'send', address: text, port: destinationPort }
      bound.fail(socketError('ENETUNREACH', where), { ip: text, port: destinationPort })
      return
    }
    this.#udp.send(
      neighbor,
      source,
      bound.portNumber,
      destination,
      destinationPort,
      block.bytes,
      offset,
      length,
    )
  }

  #taken(address: Address, port: number): boolean {
    const list = this.#byNumber.get(port)
    return (
      list?.some(
        (other) =>
          other.address.family === address.family &&
          (other.address.equals(address) || isUnspecified(other.address) || isUnspecified(address)),
      ) ?? false
    )
  }

  #ephemeral(address: Address): number {
    const span = EPHEMERAL_LAST - EPHEMERAL_FIRST + 1
    const start = this.#engine.random.below(span)
    for (let i = 0; i < span; i++) {
      const port = EPHEMERAL_FIRST + ((start + i) % span)
      if (!this.#taken(address, port)) return port
    }
    return 0
  }
}
