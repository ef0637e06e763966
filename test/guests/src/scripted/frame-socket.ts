/** A unix socket that carries Ethernet frames as QEMU's `-netdev stream` does: a 32-bit big-endian length before each. */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** Bytes the kernel has not yet taken, above which a guest's TCP waits. */
const HIGH_WATER_BYTES = 1 << 20

/** What arrives. */
export interface FrameReceiver {
  frame(frame: Buffer): void
  /** All complete frames of one read were handed over. */
  batchEnd(): void
  /** The socket takes more again. */
  drained(): void
  closed(): void
}

/** An open socket. */
export class FrameSocket {
  readonly #socket: Socket
  #rest: Buffer = Buffer.alloc(0)
  #out: Buffer[] = []

  private constructor(socket: Socket, receiver: FrameReceiver) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#receive(chunk, receiver))
    socket.on('drain', () => receiver.drained())
    socket.on('error', () => {})
    socket.on('close', () => receiver.closed())
  }

  static async open(path: string, receiver: FrameReceiver): Promise<FrameSocket> {
    const socket = connect(path)
    await once(socket, 'connect')
    return new FrameSocket(socket, receiver)
  }

  get canSend(): boolean {
    return this.#socket.writableLength < HIGH_WATER_BYTES
  }

  /** Frames of one turn of the event loop leave in one write. */
  send(frame: Buffer): void {
    if (this.#out.length === 0) setImmediate(() => this.#flush())
    const head = Buffer.alloc(4)
    head.writeUInt32BE(frame.length)
    this.#out.push(head, frame)
    if (this.#out.length >= 128) this.#flush()
  }

  close(): void {
    this.#socket.destroy()
  }

  #flush(): void {
    if (this.#out.length === 0 || this.#socket.destroyed) return
    this.#socket.write(Buffer.concat(this.#out))
    this.#out = []
  }

  #receive(chunk: Buffer, receiver: FrameReceiver): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32BE(at)
      if (bytes.length - at - 4 < length) break
      receiver.frame(bytes.subarray(at + 4, at + 4 + length))
      at += 4 + length
    }
    this.#rest = bytes.subarray(at)
    receiver.batchEnd()
    this.#flush()
  }
}
