/**
 * A VM that misbehaves, over a real unix socket in QEMU's wire format: raw frames and raw bytes, with the one honest question that
 * shows whether the network still answers.
 */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { arp, ethernet, ETHERTYPE, BROADCAST_MAC, ipText, readArp } from '@netkit/guests/wire'

/** The VM's own MAC address. */
export const VM_MAC: Buffer = Buffer.from('525400123456', 'hex')

/** How long an answer may take on a busy machine; it is a matter of microseconds on a quiet one. */
const ANSWER_MS = 10_000

/** Connections that are tried before one must be served. */
const ATTEMPTS = 50

/** How a question to the network ended. */
export type Liveness = 'answers' | 'closed'

/** A frame as it goes over the wire: a 32-bit big-endian length before it. */
export function framed(frame: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(frame.length)
  return Buffer.concat([length, frame])
}

/** An ARP request for `target`. */
export function arpRequest(senderIp: string, target: string, mac: Buffer = VM_MAC): Buffer {
  const targetMac = Buffer.alloc(6)
  const packet = { operation: 1, senderMac: mac, senderIp, targetMac, targetIp: target }
  return ethernet(BROADCAST_MAC, mac, ETHERTYPE.arp, arp(packet))
}

/** One connection. */
export class HostileVm implements AsyncDisposable {
  readonly #socket: Socket
  readonly #gateway: string
  readonly #ip: string
  #rest: Buffer = Buffer.alloc(0)
  #answered: (() => void) | undefined

  private constructor(socket: Socket, gateway: string, ip: string) {
    this.#socket = socket
    this.#gateway = gateway
    this.#ip = ip
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
  }

  /**
   * A connection that is being served. The network serves one VM per socket, and hangs up on a second one until it has seen the
   * first one leave: so a connection that is not answered is tried again.
   */
  static async open(path: string, gateway: string, ip: string): Promise<HostileVm> {
    for (let attempt = 1; ; attempt++) {
      const socket = connect(path)
      await once(socket, 'connect')
      const vm = new HostileVm(socket, gateway, ip)
      if (attempt === ATTEMPTS || (await vm.liveness()) === 'answers') return vm
    }
  }

  /** Bytes as they are; resolves when the kernel has them, or when the network has hung up. */
  write(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) resolve()
      else this.#socket.write(bytes, () => resolve())
    })
  }

  frame(frame: Buffer): Promise<void> {
    return this.write(framed(frame))
  }

  /** Stops and goes on reading what the network sends. */
  stopReading(): void {
    this.#socket.pause()
  }

  readAgain(): void {
    this.#socket.resume()
  }

  /** Asks for the gateway's MAC address until it is told, or hung up on. Rejects when neither happens. */
  liveness(): Promise<Liveness> {
    return new Promise((resolve, reject) => {
      const finish = (outcome: () => void): void => {
        clearTimeout(timer)
        this.#answered = undefined
        this.#socket.off('close', closed)
        outcome()
      }
      const closed = (): void => finish(() => resolve('closed'))
      const silent = new Error('The network neither answered nor hung up.')
      const timer = setTimeout(() => finish(() => reject(silent)), ANSWER_MS)
      if (this.#socket.destroyed) return closed()
      this.#socket.once('close', closed)
      this.#answered = () => finish(() => resolve('answers'))
      void this.frame(arpRequest(this.#ip, this.#gateway))
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#socket.destroyed) return
    this.#socket.destroy()
    await once(this.#socket, 'close')
  }

  #receive(chunk: Buffer): void {
    let bytes = Buffer.concat([this.#rest, chunk])
    while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0)) {
      const end = 4 + bytes.readUInt32BE(0)
      const frame = bytes.subarray(4, end)
      bytes = bytes.subarray(end)
      const packet =
        frame.readUInt16BE(12) === ETHERTYPE.arp ? readArp(frame.subarray(14)) : undefined
      const toUs = packet && ipText(frame.subarray(14 + 24, 14 + 28)) === this.#ip
      if (packet?.operation === 2 && packet.senderIp === this.#gateway && toUs) this.#answered?.()
    }
    this.#rest = bytes
  }
}
