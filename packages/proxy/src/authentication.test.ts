import { expect, test } from 'vitest'
import {
  answerChallenges,
  basicAuthenticator,
  digestAuthenticator,
  parseChallenges,
} from './authentication.ts'

// RFC 7616 3.9.1, for both algorithms.
const challenges = [
  'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"',
  'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"',
]
const request = {
  method: 'GET',
  uri: '/dir/index.html',
  proxy: { host: 'proxy.example', port: 3128 },
  credentials: { username: 'Mufasa', password: 'Circle of Life' },
  round: 0,
}
const digest = digestAuthenticator({ cnonce: () => 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ' })

test('Digest answers as in RFC 7616 3.9.1, the stronger algorithm first', async () => {
  const [md5 = '', sha256 = ''] = challenges
  expect(await answerChallenges([digest], parseChallenges([md5]), request)).toContain(
    'response="8ca523f5e9506fed4657c9700eebdbec"',
  )
  expect(await answerChallenges([digest], parseChallenges([md5, sha256]), request)).toContain(
    'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"',
  )
})

test('several challenges in one field are told apart', () => {
  const found = parseChallenges([
    'Negotiate, NTLM TlRMTVNTUAAC==, Basic realm="a \\"b\\", c", charset=UTF-8',
  ])
  expect(found.map(({ scheme, token }) => [scheme, token])).toEqual([
    ['negotiate', undefined],
    ['ntlm', 'TlRMTVNTUAAC=='],
    ['basic', undefined],
  ])
  expect(found[2]?.parameters.get('realm')).toBe('a "b", c')
})

test('a second refusal is final', async () => {
  const again = { ...request, round: 1 }
  const both = parseChallenges([...challenges, 'Basic realm="x"'])
  expect(await answerChallenges([digest, basicAuthenticator], both, again)).toBeUndefined()
})
