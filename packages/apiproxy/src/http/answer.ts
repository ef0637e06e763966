/** Answers of the proxy's own, in the engine's format: whoever reads the engine's errors reads these. */

import type { HttpFault, RequestHead } from '@netkit/core/http'

/** An answer instead of the engine's. */
export interface Answer {
  readonly status: number
  /** Shown by the CLI after "Error response from daemon: ". */
  readonly message: string
}

const reasons: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
}

/** The whole response. After a HEAD it has no body (RFC 9110 9.3.2). */
export function answerBytes(
  { status, message }: Answer,
  options: { method?: string; close: boolean },
): Uint8Array {
  const body = new TextEncoder().encode(`${JSON.stringify({ message })}\n`)
  const head = [
    `HTTP/1.1 ${status} ${reasons[status] ?? 'Error'}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    ...(options.close ? ['Connection: close'] : []),
    ...(status === 503 ? ['Retry-After: 1'] : []),
  ]
  return joinBytes(
    new TextEncoder().encode(`${head.join('\r\n')}\r\n\r\n`),
    options.method === 'HEAD' ? new Uint8Array(0) : body,
  )
}

/** Two pieces as one. */
export function joinBytes(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length)
  both.set(first)
  both.set(second, first.length)
  return both
}

/** The answer to a request that is not HTTP as we read it. */
export function faultAnswer(fault: HttpFault, words: string): Answer {
  const status = fault === 'head-too-long' || fault === 'too-many-fields' ? 431 : 400
  return { status, message: `The request is refused: ${words}. Nothing of it was passed on.` }
}

/** The head with another body: its framing fields give way to one `Content-Length`; all others stay as they came, in order. */
export function withBodyLength(head: Pick<RequestHead, 'bytes'>, length: number): Uint8Array {
  // latin1 both ways: field values may hold any byte above 0x7f.
  const [first = '', ...lines] = Array.from(head.bytes, (byte) => String.fromCharCode(byte))
    .join('')
    .slice(0, -4)
    .split('\r\n')
  const kept = lines.filter((line) => !/^(?:content-length|transfer-encoding|trailer):/i.test(line))
  const text = [first, ...kept, `Content-Length: ${length}`, '', ''].join('\r\n')
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}
