/**
 * Heads as they go on: fields in their order and case, without those that belong to one hop (RFC 9110 7.6.1).
 */

import type { RequestHead, ResponseHead } from '@netkit/core/http'

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'upgrade',
])

/** Fields that frame the message or route it: naming them in Connection must not remove them. */
const KEPT = new Set(['content-length', 'host', 'trailer', 'transfer-encoding'])

/** Lines of the head that are for the next hop, as they came. */
export function endToEndLines(head: RequestHead | ResponseHead): string[] {
  const named = new Set(head.list('connection').filter((name) => !KEPT.has(name)))
  return head.fields
    .filter(({ name }) => !HOP_BY_HOP.has(name) && !named.has(name))
    .map(({ line }) => line)
}

/** Options of `requestHead`. */
export interface RequestHeadOptions {
  readonly target: string
  readonly authority: string
  readonly authorization?: string
  /** Added as `Via`, for proxies that may lead back here. */
  readonly via?: string
}

/** A request's head for the next hop. The authority of the target becomes `Host`, whatever the client had written there. */
export function requestHead(head: RequestHead, options: RequestHeadOptions): string {
  const { target, authority, authorization, via } = options
  const lines = endToEndLines(head).filter((line) => !/^host[ \t]*:/i.test(line))
  const upgrade =
    head.upgrade === undefined ? [] : ['Connection: Upgrade', `Upgrade: ${head.upgrade}`]
  // Only this part of TE is about the whole way: the client can take trailers.
  const te = head.list('te').includes('trailers') ? ['TE: trailers', 'Connection: TE'] : []
  return [
    `${head.method} ${target} HTTP/1.1`,
    `Host: ${authority}`,
    ...lines,
    ...(upgrade.length > 0 ? upgrade : te),
    ...(authorization === undefined ? [] : [`Proxy-Authorization: ${authorization}`]),
    ...(via === undefined ? [] : [`Via: 1.1 ${via}`]),
    '',
    '',
  ].join('\r\n')
}

/** A response's head for the client. */
export function responseHead(
  head: ResponseHead,
  options: { readonly close: boolean; readonly dechunk: boolean },
): string {
  const statusLine = Buffer.from(head.bytes).toString('latin1').split('\r\n', 1)[0] ?? ''
  const drop = options.dechunk ? /^(?:transfer-encoding|trailer)[ \t]*:/i : undefined
  const lines = endToEndLines(head).filter((line) => !drop?.test(line))
  const upgrade =
    head.status === 101
      ? ['Connection: Upgrade', `Upgrade: ${head.field('upgrade') ?? ''}`]
      : options.close
        ? ['Connection: close']
        : []
  return [statusLine.replace(/^HTTP\/1\.0/, 'HTTP/1.1'), ...lines, ...upgrade, '', ''].join('\r\n')
}
