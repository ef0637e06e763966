/**
 * The scripted guest's IP host: one NIC, one address, ARP, ICMP echo, UDP ports and TCP connections, over a frame socket.
 *
 * It is strict where a kernel is lenient: whatever the stack sends that breaks a rule (a checksum, a length, a frame above the
 * MTU, a segment that is sent again) is written down in `problems`, and the lab asks for that list to be empty.
 */

import { randomBytes, randomInt } from 'node:crypto'
import { NetkitError } from '@netkit/core'
import type { Lease } from '../guest-tools.ts'
import {
  DHCP,
  MESSAGE,
  ASKED_OPTIONS,
  dhcpMessage,
  leaseOf,
  readDhcp,
  requestOptions,
  type DhcpReply,
} from './dhcp.ts'
import { FrameSocket } from './frame-socket.ts'
import { TcpConnection } from './tcp-connection.ts'
import {
  ANY_IP,
  arp,
  BROADCAST_IP,
  BROADCAST_MAC,
  ethernet,
  ETHERTYPE,
  FLAG,
  icmp,
  ICMP,
  ipBytes,
  ipv4,
  macText,
  PROTOCOL,
  readArp,
  readIpv4,
  readTcp,
  readUdp,
  tcp,
  udp,
  internetChecksum,
  type Ipv4Packet,
  type TcpSegment,
  type UdpDatagram,
} from './wire.ts'

/** Time for an answer to a request that is sent again `ATTEMPTS` times. */
const ANSWER_MS = 1000
const ATTEMPTS = 20

type UdpListener = (datagram: UdpDatagram, from: string) => void

const flowKey = (ip: string, port: number, localPort: number): string =>
  `${ip}:${port}:${localPort}`

/** What `start`'s callback is called with, if that is within `ms`; what `start` returns is run in the end. */
function within<T>(
  ms: number,
  start: (done: (answer: T) => void) => () => void,
): Promise<T | undefined> {
  return new Promise((resolve) => {
    let stop: (() => void) | undefined
    const finish = (answer: T | undefined): void => {
      clearTimeout(timer)
      stop?.()
      resolve(answer)
    }
    const timer = setTimeout(() => finish(undefined), ms)
    stop = start(finish)
  })
}

/** A host on a link. */
export class ScriptedHost {
  readonly mac: Buffer = Buffer.from([0x52, 0x54, 0, ...randomBytes(3)])
  /** What the network did wrong, as it came. */
  readonly problems: string[] = []
  #lease: Lease | undefined
  #mtu = 1500
  #socket: FrameSocket | undefined
  #ipId = 0
  #nextPort = 40_000 + randomInt(10_000)
  readonly #neighbours = new Map<string, Buffer>()
  readonly #neighbourWaiters = new Map<string, (() => void)[]>()
  readonly #udp = new Map<number, UdpListener>()
  readonly #udpUnreachable = new Map<number, () => void>()
  readonly #pings = new Map<number, () => void>()
  readonly #connections = new Map<string, TcpConnection>()
  readonly #listeners = new Map<number, (connection: TcpConnection) => void>()
  /** Connections that have seen frames in this batch. */
  readonly #touched = new Set<TcpConnection>()

  static async start(path: string): Promise<ScriptedHost> {
    const host = new ScriptedHost()
    host.#socket = await FrameSocket.open(path, {
      frame: (frame) => host.#frame(frame),
      batchEnd() {
        for (const connection of host.#touched) connection.batchEnd()
        host.#touched.clear()
      },
      drained() {
        for (const connection of host.#connections.values()) connection.resume()
      },
      closed() {
        for (const connection of host.#connections.values()) connection.abort()
      },
    })
    return host
  }

  close(): void {
    for (const connection of this.#connections.values()) connection.abort()
    this.#socket?.close()
  }

  get lease(): Lease {
    if (this.#lease) return this.#lease
    throw new NetkitError('NETKIT_GUEST_COMMAND', 'The scripted guest has no lease yet.')
  }

  /** DISCOVER, OFFER, REQUEST, ACK. */
  async acquireLease(): Promise<Lease> {
    const xid = randomInt(2 ** 32)
    const exchange = (
      type: number,
      options: readonly (readonly [number, Buffer])[],
      expected: number,
    ): Promise<DhcpReply> =>
      this.#ask(
        'DHCP',
        () => {
          const payload = dhcpMessage(type, xid, this.mac, options)
          const datagram = { fromPort: DHCP.clientPort, toPort: DHCP.serverPort, payload }
          this.#sendIp(BROADCAST_MAC, {
            from: ANY_IP,
            to: BROADCAST_IP,
            protocol: PROTOCOL.udp,
            payload: udp(ANY_IP, BROADCAST_IP, datagram),
          })
        },
        (done) => {
          this.#udp.set(DHCP.clientPort, ({ payload }) => {
            const reply = readDhcp(payload)
            if (reply?.xid === xid && (reply.type === expected || reply.type === MESSAGE.nak))
              done(reply)
          })
          return () => this.#udp.delete(DHCP.clientPort)
        },
      )
    const offer = await exchange(MESSAGE.discover, [[55, ASKED_OPTIONS]], MESSAGE.offer)
    const ack = await exchange(MESSAGE.request, requestOptions(offer), MESSAGE.ack)
    if (ack.type !== MESSAGE.ack)
      throw new NetkitError('NETKIT_GUEST_COMMAND', `The DHCP server refused ${offer.ip}.`)
    this.#lease = leaseOf(ack)
    this.#mtu = this.#lease.mtu ?? 1500
    return this.#lease
  }

  /** The MAC address of a neighbour. */
  async resolveNeighbour(ip: string): Promise<Buffer> {
    const known = this.#neighbours.get(ip)
    if (known) return known
    await this.#ask<true>(
      `ARP for ${ip}`,
      () => {
        const { ip: senderIp } = this.lease
        const packet = {
          operation: 1,
          senderMac: this.mac,
          senderIp,
          targetMac: Buffer.alloc(6),
          targetIp: ip,
        }
        this.#socket?.send(ethernet(BROADCAST_MAC, this.mac, ETHERTYPE.arp, arp(packet)))
      },
      (done) => {
        const waiters = this.#neighbourWaiters.get(ip) ?? []
        waiters.push(() => done(true))
        this.#neighbourWaiters.set(ip, waiters)
        return () => this.#neighbourWaiters.delete(ip)
      },
    )
    return this.resolveNeighbour(ip)
  }

  neighbour(ip: string): string | undefined {
    const mac = this.#neighbours.get(ip)
    return mac && macText(mac)
  }

  /** One echo request; whether it was answered in time with the same bytes. */
  async ping(ip: string, sequence: number): Promise<boolean> {
    await this.#route(ip)
    const rest = Buffer.concat([
      Buffer.from([0x6e, 0x6b, sequence >> 8, sequence & 0xff]),
      randomBytes(56),
    ])
    const identity = rest.readUInt32BE(0)
    const answered = await within<true>(ANSWER_MS * 2, (done) => {
      this.#pings.set(identity, () => done(true))
      this.sendTo(ip, PROTOCOL.icmp, icmp(ICMP.echoRequest, 0, rest))
      return () => this.#pings.delete(identity)
    })
    return answered === true
  }

  /** One datagram from a new port; the answer, `undefined` when none came or the network said that nobody is there. */
  async askUdp(
    ip: string,
    port: number,
    payload: Buffer,
    attempts: number,
  ): Promise<Buffer | undefined> {
    await this.#route(ip)
    const fromPort = this.#newPort()
    const datagram = udp(this.lease.ip, ip, { fromPort, toPort: port, payload })
    for (let i = 0; i < attempts; i++) {
      const answer = await within<Buffer | 'refused'>(ANSWER_MS * 2, (done) => {
        this.#udp.set(fromPort, (reply, from) => {
          if (from === ip && reply.fromPort === port) done(Buffer.from(reply.payload))
        })
        this.#udpUnreachable.set(fromPort, () => done('refused'))
        this.sendTo(ip, PROTOCOL.udp, datagram)
        return () => {
          this.#udp.delete(fromPort)
          this.#udpUnreachable.delete(fromPort)
        }
      })
      if (answer !== undefined) return answer === 'refused' ? undefined : answer
    }
    return undefined
  }

  /** A connection whose attempt has ended: see `opened()` and `end`. */
  async connect(ip: string, port: number): Promise<TcpConnection> {
    await this.#route(ip)
    const connection = this.#connection(ip, port, this.#newPort())
    await connection.opened()
    return connection
  }

  listen(port: number, accept: (connection: TcpConnection) => void): void {
    this.#listeners.set(port, accept)
  }

  unlisten(port: number): void {
    this.#listeners.delete(port)
  }

  /** Sends an IP packet to a host whose route is known. */
  sendTo(ip: string, protocol: number, payload: Buffer): void {
    const mac = this.#neighbours.get(this.#nextHop(ip))
    if (mac) this.#sendIp(mac, { from: this.lease.ip, to: ip, protocol, payload })
  }

  #newPort(): number {
    return this.#nextPort++
  }

  #nextHop(ip: string): string {
    const { ip: own, prefix, router } = this.lease
    const network = (address: string): number =>
      Math.floor(ipBytes(address).readUInt32BE(0) / 2 ** (32 - prefix))
    return network(ip) === network(own) ? ip : router
  }

  async #route(ip: string): Promise<void> {
    await this.resolveNeighbour(this.#nextHop(ip))
  }

  #connection(ip: string, port: number, localPort: number, syn?: TcpSegment): TcpConnection {
    const key = flowKey(ip, port, localPort)
    const socket = (): FrameSocket | undefined => this.#socket
    const connection = new TcpConnection(
      {
        mss: this.#mtu - 40,
        send: (segment) =>
          this.sendTo(
            ip,
            PROTOCOL.tcp,
            tcp(this.lease.ip, ip, { ...segment, fromPort: localPort, toPort: port }),
          ),
        get canSend() {
          return socket()?.canSend ?? false
        },
        closed: () => {
          this.#connections.delete(key)
          if (connection.retransmitted > 0)
            this.problems.push(
              `TCP had to send again ${connection.retransmitted} times to ${ip}:${port}`,
            )
        },
      },
      syn,
    )
    this.#connections.set(key, connection)
    return connection
  }

  /** Sends until `listen`'s callback is called. */
  async #ask<T>(
    what: string,
    send: () => void,
    listen: (done: (answer: T) => void) => () => void,
  ): Promise<T> {
    for (let i = 0; i < ATTEMPTS; i++) {
      const answer = await within<T>(ANSWER_MS, (done) => {
        const stop = listen(done)
        send()
        return stop
      })
      if (answer !== undefined) return answer
    }
    throw new NetkitError('NETKIT_GUEST_TIMEOUT', `${what}: no answer to ${ATTEMPTS} requests.`)
  }

  #sendIp(mac: Buffer, packet: Ipv4Packet): void {
    this.#ipId = (this.#ipId + 1) & 0xffff
    this.#socket?.send(ethernet(mac, this.mac, ETHERTYPE.ipv4, ipv4(packet, this.#ipId)))
  }

  #problem(what: string): void {
    this.problems.push(what)
  }

  #frame(frame: Buffer): void {
    if (frame.length < 14) return this.#problem(`a frame of ${frame.length} bytes`)
    if (frame.length > this.#mtu + 14)
      return this.#problem(`a frame of ${frame.length} bytes with MTU ${this.#mtu}`)
    const to = frame.subarray(0, 6)
    if (!to.equals(this.mac) && !to.equals(BROADCAST_MAC)) return
    const from = frame.subarray(6, 12)
    const payload = frame.subarray(14)
    if (frame.readUInt16BE(12) === ETHERTYPE.arp) this.#arp(payload)
    else if (frame.readUInt16BE(12) === ETHERTYPE.ipv4) this.#ip(payload, from)
  }

  #arp(payload: Buffer): void {
    const packet = readArp(payload)
    if (!packet) return this.#problem('a malformed ARP packet')
    const own = this.#lease?.ip
    if (packet.operation === 2 || packet.targetIp === own) {
      this.#neighbours.set(packet.senderIp, packet.senderMac)
      const waiters = this.#neighbourWaiters.get(packet.senderIp) ?? []
      for (const run of waiters) run()
    }
    if (packet.operation === 1 && own !== undefined && packet.targetIp === own) {
      const reply = arp({
        operation: 2,
        senderMac: this.mac,
        senderIp: own,
        targetMac: packet.senderMac,
        targetIp: packet.senderIp,
      })
      this.#socket?.send(ethernet(packet.senderMac, this.mac, ETHERTYPE.arp, reply))
    }
  }

  #ip(bytes: Buffer, fromMac: Buffer): void {
    const packet = readIpv4(bytes)
    if (typeof packet === 'string') return this.#problem(packet)
    const own = this.#lease?.ip
    if (own !== undefined && packet.to !== own && packet.to !== BROADCAST_IP) return
    // Whoever sends to us is where answers go: a published port's client may come before any ARP.
    if (own !== undefined && packet.to === own) {
      const hop = this.#nextHop(packet.from)
      if (!this.#neighbours.has(hop)) this.#neighbours.set(hop, Buffer.from(fromMac))
    }
    if (packet.protocol === PROTOCOL.udp) this.#udpIn(packet)
    else if (packet.protocol === PROTOCOL.tcp && own !== undefined) this.#tcpIn(packet)
    else if (packet.protocol === PROTOCOL.icmp) this.#icmpIn(packet)
  }

  #udpIn(packet: Ipv4Packet): void {
    const datagram = readUdp(packet)
    if (typeof datagram === 'string') return this.#problem(datagram)
    this.#udp.get(datagram.toPort)?.(datagram, packet.from)
  }

  #icmpIn({ from, payload }: Ipv4Packet): void {
    if (payload.length < 8 || internetChecksum(payload) !== 0) return this.#problem('ICMP checksum')
    const type = payload.readUInt8(0)
    if (type === ICMP.echoRequest) {
      this.sendTo(from, PROTOCOL.icmp, icmp(ICMP.echoReply, 0, payload.subarray(4)))
    } else if (type === ICMP.echoReply) {
      this.#pings.get(payload.readUInt32BE(4))?.()
    } else if (type === ICMP.unreachable) {
      this.#unreachable(payload.subarray(8))
    }
  }

  /** `quoted` is the head of the packet that could not be delivered. */
  #unreachable(quoted: Buffer): void {
    if (quoted.length < 28) return
    const headLength = (quoted.readUInt8(0) & 0xf) * 4
    if (quoted.length < headLength + 4) return
    const fromPort = quoted.readUInt16BE(headLength)
    const toPort = quoted.readUInt16BE(headLength + 2)
    const to = [...quoted.subarray(16, 20)].join('.')
    if (quoted.readUInt8(9) === PROTOCOL.udp) this.#udpUnreachable.get(fromPort)?.()
    else this.#connections.get(flowKey(to, toPort, fromPort))?.unreachable()
  }

  #tcpIn(packet: Ipv4Packet): void {
    const segment = readTcp(packet)
    if (typeof segment === 'string') return this.#problem(segment)
    const key = flowKey(packet.from, segment.fromPort, segment.toPort)
    const connection = this.#connections.get(key)
    if (connection) {
      this.#touched.add(connection)
      connection.segment(segment)
      return
    }
    const accept = this.#listeners.get(segment.toPort)
    if (accept && (segment.flags & (FLAG.syn | FLAG.ack | FLAG.rst)) === FLAG.syn) {
      accept(this.#connection(packet.from, segment.fromPort, segment.toPort, segment))
    } else if (!(segment.flags & FLAG.rst)) {
      this.#refuse(packet.from, segment)
    }
  }

  /** RST for a segment that belongs to nothing (RFC 9293 3.10.7.1). */
  #refuse(to: string, segment: TcpSegment): void {
    const hasAck = (segment.flags & FLAG.ack) !== 0
    const used = segment.payload.length + (segment.flags & (FLAG.syn | FLAG.fin) ? 1 : 0)
    const answer = tcp(this.lease.ip, to, {
      fromPort: segment.toPort,
      toPort: segment.fromPort,
      seq: hasAck ? segment.ack : 0,
      ack: hasAck ? 0 : (segment.seq + used) >>> 0,
      flags: hasAck ? FLAG.rst : FLAG.rst | FLAG.ack,
      window: 0,
      payload: Buffer.alloc(0),
    })
    this.sendTo(to, PROTOCOL.tcp, answer)
  }
}
