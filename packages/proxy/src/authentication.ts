/**
 * Credentials for upstream proxies: Basic (RFC 7617), Digest (RFC 7616: SHA-256 and MD5), and a place for schemes that the host's
 * own libraries speak (Negotiate, NTLM).
 *
 * ```
 *   407 + challenges ─▶ authenticators, strongest first ─▶ Proxy-Authorization ─▶ again; given up after 3 rounds
 * ```
 */

import { createHash, randomBytes } from 'node:crypto'

/** A name and a password. Never logged, never in an error. */
export interface Credentials {
  readonly username: string
  readonly password: string
}

/** One challenge of a `Proxy-Authenticate` field (RFC 9110 11.6.1). */
export interface Challenge {
  /** Lower case. */
  readonly scheme: string
  /** The token of schemes that have one (Negotiate, NTLM). */
  readonly token?: string
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>
}

/** What is to be authorised. */
export interface AuthenticationRequest {
  readonly challenge: Challenge
  /** `CONNECT` or the request's method. */
  readonly method: string
  /** The request target as it is sent. */
  readonly uri: string
  /** The upstream, for schemes that need a service's name. */
  readonly proxy: { readonly host: string; readonly port: number }
  readonly credentials: Credentials | undefined
  /** 0 at the first challenge on this connection. */
  readonly round: number
}

/** Speaks one scheme. Schemes that authenticate a connection keep to it: rounds of one tunnel stay on one connection. */
export interface Authenticator {
  /** Lower case: `basic`, `digest`, `negotiate`, `ntlm`. */
  readonly scheme: string
  /** The value of `Proxy-Authorization`, or `undefined`: cannot, the next scheme is tried. */
  authorize(request: AuthenticationRequest): string | undefined | Promise<string | undefined>
}

/** Reads all challenges of a message. */
export function parseChallenges(values: readonly string[]): Challenge[] {
  const found: { scheme: string; token?: string; parameters: Map<string, string> }[] = []
  const item =
    /(?<name>[!#$%&'*+\-.^_`|~\w]+)\s*=\s*(?:"(?<quoted>(?:[^"\\]|\\.)*)"|(?<plain>[^\s,"=]+)(?=\s*(?:,|$)))|(?<scheme>[!#$%&'*+\-.^_`|~\w]+)(?:[ \t]+(?<token>[\w\-.~+/]+=*)(?=\s*(?:,|$)))?/g
  for (const value of values) {
    for (const { groups } of value.matchAll(item)) {
      const { name, quoted, plain, scheme, token } = groups ?? {}
      if (scheme !== undefined) {
        found.push({
          scheme: scheme.toLowerCase(),
          ...(token !== undefined && { token }),
          parameters: new Map(),
        })
      } else if (name !== undefined) {
        const text = quoted?.replaceAll(/\\(.)/g, '$1') ?? plain ?? ''
        found.at(-1)?.parameters.set(name.toLowerCase(), text)
      }
    }
  }
  return found
}

const base64 = (text: string): string => Buffer.from(text, 'utf8').toString('base64')

/** Basic. Sent only to a proxy that asks for it, or at once by `preemptiveBasic`. */
export const basicAuthenticator: Authenticator = {
  scheme: 'basic',
  authorize: ({ credentials, round }) =>
    // The same answer a second time would be refused a second time.
    credentials && round === 0 ? basicAuthorization(credentials) : undefined,
}

/** The value of `Proxy-Authorization` for Basic. */
export function basicAuthorization({ username, password }: Credentials): string {
  return `Basic ${base64(`${username}:${password}`)}`
}

const HASHES = new Map([
  ['sha-256', 'sha256'],
  ['sha-256-sess', 'sha256'],
  ['md5', 'md5'],
  ['md5-sess', 'md5'],
])

const quote = (text: string): string => `"${text.replaceAll(/["\\]/g, '\\$&')}"`

/** Digest; `cnonce` is given by tests only. */
export function digestAuthenticator(options: { cnonce?: () => string } = {}): Authenticator {
  const cnonceOf = options.cnonce ?? (() => randomBytes(16).toString('hex'))
  return {
    scheme: 'digest',
    authorize({ challenge, method, uri, credentials, round }) {
      const { parameters } = challenge
      const algorithm = parameters.get('algorithm') ?? 'MD5'
      const hashName = HASHES.get(algorithm.toLowerCase())
      const [realm, nonce] = [parameters.get('realm'), parameters.get('nonce')]
      if (!credentials || !hashName || realm === undefined || nonce === undefined) return undefined
      // A second challenge means a wrong password, unless only the nonce had grown old.
      if (round > 0 && parameters.get('stale')?.toLowerCase() !== 'true') return undefined
      const qops = parameters.get('qop')?.split(/[\s,]+/)
      if (qops !== undefined && !qops.includes('auth')) return undefined
      const hash = (text: string): string => createHash(hashName).update(text).digest('hex')
      const cnonce = cnonceOf()
      const { username, password } = credentials
      let secret = hash(`${username}:${realm}:${password}`)
      if (algorithm.toLowerCase().endsWith('-sess')) secret = hash(`${secret}:${nonce}:${cnonce}`)
      const subject = hash(`${method}:${uri}`)
      const count = '00000001'
      const response =
        qops === undefined
          ? hash(`${secret}:${nonce}:${subject}`)
          : hash(`${secret}:${nonce}:${count}:${cnonce}:auth:${subject}`)
      const opaque = parameters.get('opaque')
      return `Digest ${[
        `username=${quote(username)}`,
        `realm=${quote(realm)}`,
        `nonce=${quote(nonce)}`,
        `uri=${quote(uri)}`,
        `algorithm=${algorithm}`,
        `response="${response}"`,
        ...(qops === undefined ? [] : ['qop=auth', `nc=${count}`, `cnonce="${cnonce}"`]),
        ...(opaque === undefined ? [] : [`opaque=${quote(opaque)}`]),
      ].join(', ')}`
    },
  }
}

/** Strongest first. */
const ORDER = ['negotiate', 'ntlm', 'digest', 'basic']

/** The best answer to a 407, with the scheme it is of; `undefined` when nothing fits. */
export async function answerChallenges(
  authenticators: readonly Authenticator[],
  challenges: readonly Challenge[],
  request: Omit<AuthenticationRequest, 'challenge'>,
): Promise<string | undefined> {
  const rank = ({ scheme, parameters }: Challenge): number =>
    2 * (ORDER.indexOf(scheme) + ORDER.length + 1) -
    (/^sha/i.test(parameters.get('algorithm') ?? '') ? 1 : 0)
  for (const challenge of challenges.toSorted((a, b) => rank(a) - rank(b))) {
    for (const authenticator of authenticators) {
      if (authenticator.scheme !== challenge.scheme) continue
      const value = await authenticator.authorize({ ...request, challenge })
      if (value !== undefined) return value
    }
  }
  return undefined
}

/** What is known without being given: Digest and Basic. */
export const defaultAuthenticators: readonly Authenticator[] = [
  digestAuthenticator(),
  basicAuthenticator,
]
