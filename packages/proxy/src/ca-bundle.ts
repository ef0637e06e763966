/**
 * The certificates that the host trusts, as PEM, for guests: a company's own authority signs what its proxy opens, and what its servers
 * are. Nothing is written into a guest; whoever boots it decides where the bundle goes.
 *
 * | host | from |
 * |---|---|
 * | macOS, Windows | the system's store, by Node (`tls.getCACertificates('system')`, Node 22.15) |
 * | Linux | the distribution's bundle, which `update-ca-certificates` and `update-ca-trust` keep |
 *
 * Added are what `NODE_EXTRA_CA_CERTS` and `SSL_CERT_FILE` name. What has expired is left out, since some clients refuse a whole bundle
 * for it.
 */

import { X509Certificate } from 'node:crypto'
import { getCACertificates } from 'node:tls'
import { NetkitError } from '@netkit/core'
import { hostFiles } from '@netkit/core/node'
import type { HostFiles } from '@netkit/core/node'
import type { Environment } from './env-settings.ts'

/** Where distributions keep it: Debian, Fedora, SUSE, Alpine. */
const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

/** Options of `caBundle`. */
export interface CaBundleOptions {
  /** Default this process's. */
  readonly platform?: NodeJS.Platform
  /** Default this process's. */
  readonly environment?: Environment
  readonly files?: HostFiles
  /** The system's store, as PEM. Default Node's. */
  readonly systemCertificates?: () => readonly string[]
  /** Civil time, `ms` since 1970. Default now. */
  readonly now?: number
}

/** What the host trusts. */
export interface CaBundle {
  /** All certificates, one after the other, each with its subject in a comment. */
  readonly pem: string
  readonly count: number
  /** Where they are from. */
  readonly sources: readonly string[]
  /** Certificates that had expired or could not be read. */
  readonly leftOut: number
}

/**
 * Reads what the host trusts.
 *
 * @throws NetkitError `NETKIT_CA_BUNDLE` when nothing is found: a guest with an empty bundle would trust nobody.
 * @example
 * ```ts
 * import { caBundle, trustEnv } from '@netkit/proxy'
 *
 * const { pem, count } = await caBundle()
 * console.assert(count > 0 && pem.includes('-----BEGIN CERTIFICATE-----'))
 * // Written to the guest as /etc/ssl/netkit.pem, it is found by these variables:
 * console.assert(trustEnv('/etc/ssl/netkit.pem')['NODE_EXTRA_CA_CERTS'] === '/etc/ssl/netkit.pem')
 * ```
 */
export async function caBundle(options: CaBundleOptions = {}): Promise<CaBundle> {
  const { platform = process.platform, environment = process.env, files = hostFiles } = options
  const found: { readonly source: string; readonly pems: readonly string[] }[] = []
  const fromFile = async (path: string): Promise<boolean> => {
    const pems = certificatesIn((await files.read(path)) ?? '')
    if (pems.length > 0) found.push({ source: path, pems })
    return pems.length > 0
  }
  if (platform === 'darwin' || platform === 'win32') {
    const pems = (options.systemCertificates ?? (() => getCACertificates('system')))()
    found.push({ source: 'the system’s store', pems })
  } else for (const path of BUNDLES) if (await fromFile(path)) break
  for (const name of ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE']) {
    const path = environment[name]
    if (path !== undefined && path !== '') await fromFile(path)
  }
  const bundle = joined(found, options.now ?? Date.now())
  if (bundle.count > 0) return bundle
  throw new NetkitError(
    'NETKIT_CA_BUNDLE',
    'No certificate authorities were found on this host. Install its ca-certificates package, or name a PEM file in SSL_CERT_FILE.',
  )
}

function joined(
  found: readonly { readonly source: string; readonly pems: readonly string[] }[],
  now: number,
): CaBundle {
  const seen = new Map<string, string>()
  let leftOut = 0
  for (const pem of found.flatMap(({ pems }) => pems)) {
    const certificate = parsed(pem)
    if (certificate === undefined || certificate.validToDate.getTime() < now) {
      leftOut++
      continue
    }
    const subject = certificate.subject.replaceAll('\n', ', ')
    seen.set(certificate.fingerprint256, `# ${subject}\n${pem.trim()}\n`)
  }
  return {
    pem: [...seen.values()].join('\n'),
    count: seen.size,
    sources: found.filter(({ pems }) => pems.length > 0).map(({ source }) => source),
    leftOut,
  }
}

const certificatesIn = (text: string): string[] =>
  text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []

function parsed(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}

/**
 * Variables that make programs in a guest use a bundle: OpenSSL, Node, Python's requests, curl, git, pip, the AWS tools, Deno, Cargo.
 *
 * @param path - Where the bundle lies in the guest.
 */
export function trustEnv(path: string): Record<string, string> {
  const names = [
    'SSL_CERT_FILE',
    'NODE_EXTRA_CA_CERTS',
    'REQUESTS_CA_BUNDLE',
    'CURL_CA_BUNDLE',
    'GIT_SSL_CAINFO',
    'PIP_CERT',
    'AWS_CA_BUNDLE',
    'DENO_CERT',
    'CARGO_HTTP_CAINFO',
  ]
  return Object.fromEntries(names.map((name) => [name, path]))
}
