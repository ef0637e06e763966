/** The host's name service as a `Resolver`. */

import { lookup } from 'node:dns/promises'
import { ipFamily, normalizeIp } from '../address.ts'
import { errorCode, socketError } from '../errors.ts'
import type { ResolveOptions, Resolver } from '../resolver.ts'

/** Addresses of a name; rejects with the codes of `dns.lookup`. */
export type LookUp = (name: string, family: 0 | 4 | 6) => Promise<readonly string[]>

const systemLookUp: LookUp = async (name, family) => {
  const found = await lookup(name, { all: true, family, order: 'verbatim' })
  return found.map(({ address }) => address)
}

const NO_SUCH_NAME = new Set(['ENOTFOUND', 'ENODATA', 'EAI_NONAME', 'EAI_NODATA'])

/**
 * What the host's own programs get: getaddrinfo(3), with its hosts file, search list, split DNS and mDNS.
 * An aborted call rejects at once; the host's lookup itself cannot be called off.
 */
export function hostResolver(options: { lookUp?: LookUp } = {}): Resolver {
  const lookUp = options.lookUp ?? systemLookUp
  return {
    async resolve(name: string, { family, signal }: ResolveOptions = {}) {
      signal?.throwIfAborted()
      const answer = find(lookUp, name, family)
      return signal === undefined ? answer : Promise.race([answer, aborted(signal, answer)])
    },
  }
}

async function find(lookUp: LookUp, name: string, family: 4 | 6 | undefined): Promise<string[]> {
  const failure = (code: 'ENOTFOUND' | 'EAI_AGAIN', cause?: unknown): Error =>
    socketError(code, { syscall: 'getaddrinfo', address: name, cause })
  let found: readonly string[]
  try {
    found = await lookUp(name, family ?? 0)
  } catch (error) {
    throw failure(NO_SUCH_NAME.has(errorCode(error) ?? '') ? 'ENOTFOUND' : 'EAI_AGAIN', error)
  }
  const addresses = found
    .map((address) => normalizeIp(address.replace(/%.*/, '')))
    .filter((ip) => family === undefined || ipFamily(ip) === family)
  if (addresses.length === 0) throw failure('ENOTFOUND')
  return [...new Set(addresses)]
}

/** Rejects when the signal fires; forgets the signal when `until` settles. */
function aborted(signal: AbortSignal, until: Promise<unknown>): Promise<never> {
  return new Promise((_, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    const forget = (): void => signal.removeEventListener('abort', onAbort)
    signal.addEventListener('abort', onAbort)
    until.then(forget, forget)
  })
}
