/**
 * A guest without any machine: a few hundred lines of TypeScript that speak to a stack over a real unix socket, in QEMU's wire
 * format. It proves less than a kernel does, but runs wherever Node does.
 */

import { createHash, randomInt } from 'node:crypto'
import type { GuestLink } from '../guest.ts'
import type { ConnectionEnd, GuestTools, Service, Transfer } from '../guest-tools.ts'
import { pattern } from '../pattern.ts'
import { dnsAddresses, dnsQuestion } from './dns-query.ts'
import { ScriptedHost } from './scripted-host.ts'
import type { TcpConnection } from './tcp-connection.ts'

/** A scripted guest. It dials `link.path` when it is started. */
export interface ScriptedGuest extends AsyncDisposable {
  readonly kind: 'scripted'
  readonly description: string
  readonly link: GuestLink & { readonly kind: 'dials' }
  readonly tools: GuestTools
  /** What the stack under test did wrong; empty when all is well. */
  readonly problems: readonly string[]
  close(): Promise<void>
}

const DNS_PORT = 53
const DNS_ATTEMPTS = 3
const DOTTED = /^\d+\.\d+\.\d+\.\d+$/

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Reads to the end, hashing. */
async function digest(
  connection: TcpConnection,
  first: Buffer = Buffer.alloc(0),
): Promise<Transfer> {
  const hash = createHash('sha256').update(first)
  let bytes = first.length
  for (;;) {
    const piece = await connection.read()
    if (!piece) return { bytes, sha256: hash.digest('hex') }
    hash.update(piece)
    bytes += piece.length
  }
}

async function readText(connection: TcpConnection): Promise<string> {
  let text = ''
  for (;;) {
    const piece = await connection.read()
    if (!piece) return text
    text += piece.toString('latin1')
  }
}

/** The head of an HTTP answer, and the body's bytes that came with it. */
async function readHead(connection: TcpConnection): Promise<{ status: number; body: Buffer }> {
  let bytes: Buffer = Buffer.alloc(0)
  for (;;) {
    const end = bytes.indexOf('\r\n\r\n')
    if (end >= 0) {
      const status = /^HTTP\/1\.\d (\d{3})/.exec(bytes.toString('latin1', 0, end))?.[1]
      return { status: Number(status), body: bytes.subarray(end + 4) }
    }
    const piece = await connection.read()
    if (!piece)
      throw new Error(`The connection ended (${connection.end}) before an HTTP head had come.`)
    bytes = Buffer.concat([bytes, piece])
  }
}

/** Serves one client of `serve`. */
async function serveClient(connection: TcpConnection, text: string): Promise<void> {
  if (!(await connection.opened())) return
  await connection.write(Buffer.from(text))
  connection.finish()
  await digest(connection)
}

class ScriptedTools implements GuestTools {
  readonly #host: ScriptedHost

  constructor(host: ScriptedHost) {
    this.#host = host
  }

  lease(): ReturnType<GuestTools['lease']> {
    return this.#host.acquireLease()
  }

  async neighbour(ip: string): Promise<string | undefined> {
    await this.#host.resolveNeighbour(ip)
    return this.#host.neighbour(ip)
  }

  async ping(ip: string, count: number): ReturnType<GuestTools['ping']> {
    let received = 0
    for (let i = 0; i < count; i++) if (await this.#host.ping(ip, i)) received++
    return { sent: count, received }
  }

  async resolve(name: string): Promise<readonly string[]> {
    const [server] = this.#host.lease.dns
    if (server === undefined) return []
    const id = randomInt(65_536)
    const answer = await this.#host.askUdp(server, DNS_PORT, dnsQuestion(id, name), DNS_ATTEMPTS)
    return (answer && dnsAddresses(answer, id)) ?? []
  }

  async httpGet(from: Service, path: string): ReturnType<GuestTools['httpGet']> {
    const connection = await this.#get(from, path)
    const { status, body } = await readHead(connection)
    const text = body.toString('latin1') + (await readText(connection))
    connection.finish()
    return { status, body: text }
  }

  async download(from: Service, path: string): Promise<Transfer> {
    const connection = await this.#get(from, path)
    const { body } = await readHead(connection)
    const transfer = await digest(connection, body)
    connection.finish()
    return transfer
  }

  async readSlowly(from: Service): Promise<Transfer> {
    const connection = await this.#open(from)
    await sleep(1000)
    const hash = createHash('sha256')
    let bytes = 0
    let untilPause = 1 << 20
    for (;;) {
      const piece = await connection.read()
      if (!piece) break
      hash.update(piece)
      bytes += piece.length
      untilPause -= piece.length
      if (untilPause > 0) continue
      untilPause = 1 << 20
      await sleep(50)
    }
    connection.finish()
    return { bytes, sha256: hash.digest('hex') }
  }

  async upload(to: Service, bytes: number): ReturnType<GuestTools['upload']> {
    const connection = await this.#open(to)
    const hash = createHash('sha256')
    for (const piece of pattern(bytes)) {
      hash.update(piece)
      if (!(await connection.write(piece))) break
    }
    connection.finish()
    const answer = await readText(connection)
    return { sent: { bytes, sha256: hash.digest('hex') }, answer: answer.trim() }
  }

  async answerAfterEnd(to: Service, text: string): ReturnType<GuestTools['answerAfterEnd']> {
    const connection = await this.#open(to)
    const received = await readText(connection)
    await connection.write(Buffer.from(text))
    connection.finish()
    await connection.closed()
    return { received }
  }

  async udpEcho(to: Service, text: string): Promise<string | undefined> {
    const ip = await this.#address(to.host)
    const echoed = await this.#host.askUdp(ip, to.port, Buffer.from(text), 1)
    return echoed?.toString()
  }

  async connect(to: Service): Promise<ConnectionEnd> {
    const connection = await this.#host.connect(await this.#address(to.host), to.port)
    connection.finish()
    return connection.end
  }

  async readToEnd(from: Service, line: string): ReturnType<GuestTools['readToEnd']> {
    const connection = await this.#open(from)
    await connection.write(Buffer.from(`${line}\n`))
    const { bytes } = await digest(connection)
    connection.finish()
    return { bytes, end: connection.end }
  }

  async abandon(from: Service): Promise<void> {
    const connection = await this.#open(from)
    await connection.read()
    connection.abort()
  }

  async parallelEcho(to: Service, count: number): Promise<number> {
    const connections = await Promise.all(Array.from({ length: count }, () => this.#open(to)))
    const answers = await Promise.all(
      connections.map(async (connection, i) => {
        const line = `line of ${i}\n`
        await connection.write(Buffer.from(line))
        let answer = ''
        while (answer.length < line.length) {
          const piece = await connection.read()
          if (!piece) break
          answer += piece.toString('latin1')
        }
        return answer === line
      }),
    )
    await Promise.all(
      connections.map(async (connection) => {
        connection.finish()
        await connection.closed()
      }),
    )
    return answers.filter(Boolean).length
  }

  serve(port: number, text: string): ReturnType<GuestTools['serve']> {
    this.#host.listen(port, (connection) => void serveClient(connection, text))
    const host = this.#host
    return Promise.resolve({
      port,
      [Symbol.asyncDispose]() {
        host.unlisten(port)
        return Promise.resolve()
      },
    })
  }

  async #address(host: string): Promise<string> {
    if (DOTTED.test(host)) return host
    const [address] = await this.resolve(host)
    if (address === undefined) throw new Error(`The name ${host} has no address.`)
    return address
  }

  async #open(to: Service): Promise<TcpConnection> {
    const connection = await this.#host.connect(await this.#address(to.host), to.port)
    if (connection.end !== 'ok')
      throw new Error(`Connecting to ${to.host}:${to.port}: ${connection.end}`)
    return connection
  }

  async #get(from: Service, path: string): Promise<TcpConnection> {
    const connection = await this.#open(from)
    const head = `GET ${path} HTTP/1.0\r\nHost: ${from.host}:${from.port}\r\n\r\n`
    await connection.write(Buffer.from(head))
    return connection
  }
}

/** Starts a scripted guest on the stack that listens at `path`. */
export async function scriptedGuest(path: string): Promise<ScriptedGuest> {
  const host = await ScriptedHost.start(path)
  const close = (): Promise<void> => {
    host.close()
    return Promise.resolve()
  }
  return {
    kind: 'scripted',
    description: 'a scripted guest (no Linux kernel: TypeScript over a unix socket)',
    link: { kind: 'dials', path },
    tools: new ScriptedTools(host),
    problems: host.problems,
    close,
    [Symbol.asyncDispose]: close,
  }
}
