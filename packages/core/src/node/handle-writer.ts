/**
 * Writing to a socket's handle, past the stream machinery.
 *
 * ```
 *   socket.write ──▶ Writable: buffer, state, callback, nextTick ──▶ handle.writeBuffer ──▶ libuv: write(2) at once, the rest later
 *   HandleWriter ──────────────────────────────────────────────────▶ handle.writeBuffer
 * ```
 *
 * A `HostStream` has its own queue, its own limit and its own batches, so what Node's Writable adds to each write (3 of 5 µs, the
 * system call aside) buys nothing. The handle and its requests are private to Node: this file is the only one that writes to
 * them. It proves once per process, over a connection to ourselves, that both ways of a write end as they should, and says no
 * otherwise; then sockets are written to as everybody writes to them.
 *
 * A write that fails destroys the socket with its error, as Node's own would.
 */

import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { getSystemErrorName } from 'node:util'

const HANDLE = '_handle'
/** More than the kernel takes at once on any system, so that the proof sees a write that has to wait. */
const PROOF_BYTES = 16 * 1024 * 1024

/** What libuv is handed with a write, and gives back if the write had to wait. */
interface WriteRequest {
  oncomplete: ((status: number) => void) | null
  getAsyncId(): number
}

type WriteRequestClass = new () => WriteRequest

interface Handle {
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number
  writev(request: WriteRequest, chunks: readonly Uint8Array[], allBuffers: true): number
  readonly writeQueueSize: number
}

function handleOf(socket: Socket): Handle | undefined {
  const handle = (socket as unknown as { [HANDLE]?: Partial<Handle> | null })[HANDLE]
  const isKnown =
    typeof handle?.writeBuffer === 'function' &&
    typeof handle.writev === 'function' &&
    typeof handle.writeQueueSize === 'number'
  return isKnown ? (handle as Handle) : undefined
}

/** How a write went: everything is in the kernel; some of it waits, and a callback follows; the socket is being destroyed. */
export type WriteOutcome = 'written' | 'waits' | 'failed'

/** Writes to one socket. */
export class HandleWriter {
  /** Runs when a write that had to wait has ended. */
  onWritten: () => void = () => {}
  readonly #socket: Socket
  readonly #handle: Handle
  readonly #Request: WriteRequestClass
  /** Used again and again until libuv keeps it. */
  #request: WriteRequest

  constructor(socket: Socket, handle: Handle, Request: WriteRequestClass) {
    this.#socket = socket
    this.#handle = handle
    this.#Request = Request
    this.#request = this.#newRequest()
  }

  /** Bytes that wait in libuv. */
  get queued(): number {
    // Of a handle that is gone it is undefined.
    return this.#handle.writeQueueSize || 0
  }

  /** Writes all of `chunks`, whose memory belongs to libuv until it has ended. */
  write(chunks: readonly Uint8Array[]): WriteOutcome {
    const [first] = chunks
    if (this.#socket.destroyed || first === undefined) return 'failed'
    const request = this.#request
    const error =
      chunks.length === 1
        ? this.#handle.writeBuffer(request, first)
        : this.#handle.writev(request, chunks, true)
    // A request that libuv keeps has become an asynchronous resource.
    const waits = request.getAsyncId() > 0
    if (waits) this.#request = this.#newRequest()
    if (error !== 0) {
      this.#fail(error)
      return 'failed'
    }
    return waits ? 'waits' : 'written'
  }

  #newRequest(): WriteRequest {
    const request = new this.#Request()
    request.oncomplete = this.#completed
    return request
  }

  readonly #completed = (status: number): void => {
    // A socket that was destroyed has told why; its writes are cancelled.
    if (status < 0 && !this.#socket.destroyed) this.#fail(status)
    this.onWritten()
  }

  #fail(status: number): void {
    const code = getSystemErrorName(status)
    this.#socket.destroy(Object.assign(new Error(`write ${code}`), { code, syscall: 'write' }))
  }
}

/** The class of requests, once it is proven that handles can be written to in this process. */
let proven: WriteRequestClass | undefined
let proof: Promise<boolean> | undefined

/** Whether handles can be written to in this process. Tried once, over a connection to ourselves. */
export function proveHandles(): Promise<boolean> {
  proof ??= prove().then((Request) => {
    proven = Request
    return Request !== undefined
  })
  return proof
}

/**
 * A writer for a connected socket; `undefined` where its handle is not what we know, or nothing is proven yet. Then the proof is
 * begun, for the sockets that come later.
 */
export function handleWriter(socket: Socket): HandleWriter | undefined {
  if (proven === undefined) {
    void proveHandles()
    return undefined
  }
  return writerWith(socket, proven)
}

function writerWith(
  socket: Socket,
  Request: WriteRequestClass | undefined,
): HandleWriter | undefined {
  const handle = handleOf(socket)
  return Request && handle ? new HandleWriter(socket, handle, Request) : undefined
}

async function prove(): Promise<WriteRequestClass | undefined> {
  const server = createServer({ allowHalfOpen: true })
  try {
    return await new Promise((resolve) => {
      server.on('error', () => resolve(undefined))
      server.listen({ host: '127.0.0.1', port: 0, exclusive: true }, () => {
        writeToOurselves(server).then(resolve, () => resolve(undefined))
      })
    })
  } catch {
    return undefined
  } finally {
    server.close()
  }
}

/** Writes one byte that is taken at once and many that are not; both must end as they say, and arrive. */
async function writeToOurselves(server: Server): Promise<WriteRequestClass | undefined> {
  const { port } = server.address() as AddressInfo
  const client = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
  const sockets: Socket[] = [client]
  try {
    const [accepted] = await Promise.all([
      new Promise<Socket>((resolve) => server.once('connection', resolve)),
      new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject)),
    ])
    sockets.push(accepted)
    for (const socket of sockets) socket.on('error', () => {})
    const Request = requestClassOf(client)
    const writer = writerWith(client, Request)
    if (Request === undefined || writer === undefined) return undefined
    const done = new Promise<void>((resolve) => (writer.onWritten = resolve))
    const large = new Uint8Array(PROOF_BYTES).fill(0x62)
    const half = large.subarray(0, PROOF_BYTES / 2)
    const atOnce = writer.write([new Uint8Array([0x61])])
    const later = writer.write([half, half])
    if (atOnce !== 'written' || later !== 'waits' || writer.queued === 0) return undefined
    let received = 0
    let sound = true
    const ended = new Promise((resolve, reject) => accepted.on('end', resolve).on('close', reject))
    accepted.on('data', (bytes: Buffer) => {
      // The first byte is the one that `requestClassOf` sent, the second that of the small write.
      const from = Math.max(0, 2 - received)
      received += bytes.length
      sound &&= bytes.subarray(from).every((byte) => byte === 0x62)
    })
    await done
    client.end()
    await ended
    return sound && received === PROOF_BYTES + 2 && writer.queued === 0 ? Request : undefined
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}

/** The class of requests, seen in passing: a write of Node's own makes one. */
function requestClassOf(socket: Socket): WriteRequestClass | undefined {
  const handle = handleOf(socket)
  if (handle === undefined) return undefined
  let Request: WriteRequestClass | undefined
  const own: { writeBuffer?: Handle['writeBuffer'] } = handle
  const proto = Object.getPrototypeOf(handle) as Handle
  own.writeBuffer = (request, bytes) => {
    Request = (request as { constructor: unknown }).constructor as WriteRequestClass
    return proto.writeBuffer.call(handle, request, bytes)
  }
  try {
    socket.write(new Uint8Array([0x61]))
  } finally {
    delete own.writeBuffer
  }
  return Request
}
