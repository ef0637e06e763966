import { X509Certificate } from 'node:crypto'
import { rootCertificates } from 'node:tls'
import { fakeFiles } from '@netkit/core/node'
import { describe, expect, test } from 'vitest'
import { caBundle, trustEnv } from './ca-bundle.ts'

// Authorities that Node itself carries.
const [one = '', two = '', three = ''] = rootCertificates
const now = Date.UTC(2026, 0, 1)
const subjects = (pem: string): string[] => pem.match(/^# .*$/gm) ?? []

describe('what the host trusts', () => {
  test('on Linux: the first bundle of a distribution, and what variables name, each once', async () => {
    const files = fakeFiles({
      '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem': `# a comment\n${one}\n${two}\n`,
      '/etc/ssl/cert.pem': three,
      '/corp.pem': `${two}\r\n${three}`,
    })
    const environment = { NODE_EXTRA_CA_CERTS: '/corp.pem', SSL_CERT_FILE: '/no/such.pem' }
    const bundle = await caBundle({ platform: 'linux', files, environment, now })
    expect(bundle).toMatchObject({
      count: 3,
      leftOut: 0,
      sources: ['/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem', '/corp.pem'],
    })
    expect(subjects(bundle.pem)).toHaveLength(3)
    expect(subjects(bundle.pem)[0]).toBe(
      `# ${new X509Certificate(one).subject.replaceAll('\n', ', ')}`,
    )
  })

  test.each(['darwin', 'win32'] as const)('on %s: the system’s store', async (platform) => {
    const files = fakeFiles()
    const store = { systemCertificates: () => [one, two], files }
    expect(await caBundle({ ...store, platform, environment: {}, now })).toMatchObject({
      count: 2,
      sources: ['the system’s store'],
    })
  })

  test('what has expired or is no certificate is left out', async () => {
    const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'
    const files = fakeFiles({ '/etc/ssl/certs/ca-certificates.crt': `${one}\n${broken}` })
    const later = new X509Certificate(one).validToDate.getTime() + 1
    expect(await caBundle({ platform: 'linux', files, environment: {}, now })).toMatchObject({
      count: 1,
      leftOut: 1,
    })
    await expect(
      caBundle({ platform: 'linux', files, environment: {}, now: later }),
    ).rejects.toMatchObject({ code: 'NETKIT_CA_BUNDLE' })
  })
})

test('every tool gets the same path', () => {
  const variables = trustEnv('/etc/ssl/netkit.pem')
  expect(new Set(Object.values(variables))).toEqual(new Set(['/etc/ssl/netkit.pem']))
  expect(Object.keys(variables)).toContain('GIT_SSL_CAINFO')
})
