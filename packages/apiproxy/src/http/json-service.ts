/** A small HTTP/1.1 service of JSON on a stream, for who asks us and not the engine. */

import { Block } from '@netkit/core'
import type { ByteStream } from '@netkit/core'
import { explainFault, parseRequestHead } from '@netkit/core/http'
import type { RequestHead } from '@netkit/core/http'
import { INSPECTED_BODY_BYTES } from '../limits.ts'
import { MessageReader } from '../transport/message-reader.ts'
import { faultAnswer, joinBytes } from './answer.ts'
import { CollectedBody } from './collected-body.ts'

/** A request. */
export interface JsonRequest {
  readonly method: string
  /** As it was sent, without the query. */
  readonly path: string
  /** `undefined` when there was no body, or none that is JSON. */
  readonly json: unknown
}

/** A response. */
export interface JsonResponse {
  readonly status: number
  readonly json?: unknown
}

/** Serves requests one after the other until either side ends. Never rejects. */
export async function serveJson(
  stream: ByteStream,
  handle: (request: JsonRequest) => Promise<JsonResponse>,
): Promise<void> {
  const requests = new MessageReader<RequestHead>(stream, parseRequestHead, () => {})
  try {
    for (;;) {
      const head = await requests.head()
      if (head === 'fin' || head === 'closed') break
      if (typeof head === 'string') {
        const { status, message } = faultAnswer(head, explainFault(head))
        write(stream, { status, json: { message } })
        break
      }
      const body = new CollectedBody(INSPECTED_BODY_BYTES)
      if ((await requests.copyBody(head.body, body)) !== 'done' || body.tooLarge) break
      const json = readJson(body.content(head.body))
      const path = head.target.replace(/\?.*$/s, '')
      write(stream, await handle({ method: head.method, path, json }))
      if (!head.keepsAlive) break
    }
    stream.end()
  } catch {
    stream.reset()
  }
}

function write(stream: ByteStream, { status, json }: JsonResponse): void {
  const body = new TextEncoder().encode(json === undefined ? '' : `${JSON.stringify(json)}\n`)
  const head = `HTTP/1.1 ${status} ${status < 400 ? 'OK' : 'Error'}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`
  const bytes = joinBytes(new TextEncoder().encode(head), body)
  stream.write(new Block(bytes), 0, bytes.length)
}

function readJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body)) as unknown
  } catch {
    return undefined
  }
}
