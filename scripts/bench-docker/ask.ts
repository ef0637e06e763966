/** One call of the Docker Engine API on a unix socket. */

import { once } from 'node:events'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'

/** Gives the answer's JSON. @throws with the engine's words when it refuses. */
export async function ask(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<unknown> {
  const headers = { 'Content-Type': 'application/json' }
  const call = request({ socketPath, path: `/v1.44${path}`, method, headers, agent: false })
  call.end(body === undefined ? '' : JSON.stringify(body))
  const [response] = (await once(call, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += String(chunk)
  if ((response.statusCode ?? 500) >= 400) throw new Error(`${method} ${path}: ${text}`)
  return text === '' ? undefined : (JSON.parse(text) as unknown)
}
