import { expect, test } from 'vitest'
import { dockerContextCommand, formatDockerHost, parseDockerHost } from './engine-endpoint.ts'

test.each([
  ['unix:///run/docker.sock', { path: '/run/docker.sock' }],
  ['npipe:////./pipe/docker_engine', { path: String.raw`\\.\pipe\docker_engine` }],
  ['tcp://192.0.2.5:2375', { ip: '192.0.2.5', port: 2375 }],
  ['tcp://[2001:db8::1]:2376', { ip: '2001:db8::1', port: 2376 }],
])('%s is read, and written the same', (text, endpoint) => {
  expect(parseDockerHost(text)).toEqual(endpoint)
  expect(formatDockerHost(endpoint)).toBe(text)
})

test('a path alone is a unix socket', () => {
  expect(parseDockerHost('/run/docker.sock')).toEqual({ path: '/run/docker.sock' })
})

test.each([
  'tcp://engine:2375',
  'tcp://192.0.2.5',
  'tcp://192.0.2.5:70000',
  'ssh://host',
  'docker.sock',
])('%s is no endpoint', (text) => {
  expect(() => parseDockerHost(text)).toThrow(
    expect.objectContaining({ code: 'NETKIT_ENGINE_ENDPOINT' }),
  )
})

test('the context’s command names the endpoint', () => {
  expect(dockerContextCommand({ path: '/run/d.sock' })).toBe(
    'docker context create netkit --docker host=unix:///run/d.sock',
  )
})
