import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseRequestHead, RequestHead } from '@netkit/core/http'
import { apiTarget } from '../api-target.ts'
import type { Outcome } from '../inspection.ts'
import { inspectPolicy } from '../policy-inspector.ts'
import type { ApiPolicy } from '../policy-inspector.ts'
import { inspectPaths } from './path-inspector.ts'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const decode = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : new TextDecoder().decode(bytes)

function head(line: string): RequestHead {
  const parsed = parseRequestHead(encode(`${line} HTTP/1.1\r\nHost: x\r\n\r\n`))
  if (parsed instanceof RequestHead) return parsed
  throw new Error(parsed)
}

const inspector = inspectPaths({
  toGuest: (path) =>
    path.startsWith('/home/')
      ? `/mnt/host${path}`
      : /^C:[\\/]/.test(path)
        ? `/mnt/c/${path.slice(3).replaceAll('\\', '/')}`
        : undefined,
  toHost: (path) => (path.startsWith('/mnt/host/') ? path.slice(9) : undefined),
})

async function create(body: string, line = 'POST /v1.51/containers/create'): Promise<Outcome> {
  const of = head(line)
  const target = apiTarget(of)
  const signal = new AbortController().signal
  return inspector.inspect(target, of)?.before?.({ target, head: of, body: encode(body), signal })
}

async function back(line: string, body: string): Promise<string | undefined> {
  const of = head(line)
  const outcome = await inspector
    .inspect(apiTarget(of), of)
    ?.after?.({ status: 200, body: encode(body) })
  return decode(outcome?.body)
}

describe('a create', () => {
  test('has its paths mapped, and not a byte else', async () => {
    const text =
      '{ "New": 1.10, "HostConfig" : {"Binds":["/home/a:/data:ro","cache:/c","/anon"],\n "Mounts":[{"Type":"bind","Source":"/home/\\u0062"},{"Type":"volume","Source":"v"}], "Big": 12345678901234567890}}'
    const outcome = await create(text)
    expect(decode(outcome?.body)).toBe(
      text
        .replace('/home/a:/data:ro', '/mnt/host/home/a:/data:ro')
        .replace('/home/\\u0062', '/mnt/host/home/b'),
    )
  })

  test('without paths passes as it came', async () => {
    expect(await create('{"Image":"a","HostConfig":{"Binds":null}}')).toBeUndefined()
  })

  test.each([
    ['/etc:/etc', 'is not shared'],
    ['../x:/x', 'is not shared'],
  ])('that binds %s is refused', async (bind, words) => {
    const outcome = await create(JSON.stringify({ HostConfig: { Binds: [bind] } }))
    expect(outcome?.answer).toMatchObject({ status: 400 })
    expect(outcome?.answer?.message).toContain(words)
  })

  test.each([
    [
      '{"HostConfig":{"Binds":["/home/a:/a"]},"hostconfig":{"Binds":["/etc:/e"]}}',
      'more than once',
    ],
    ['{"HostConfig":{"Binds":[]', 'cannot be read'],
    ['{"HostConfig":{}} {"HostConfig":{"Binds":["/etc:/e"]}}', 'cannot be read'],
    ['[1,]', 'cannot be read'],
    ['{/**/}', 'cannot be read'],
    ['['.repeat(100_000), 'nested deeper'],
  ])('the engine could read otherwise than we do is refused: %.60s', async (body, words) => {
    const outcome = await create(body)
    expect(outcome?.answer?.message).toContain(words)
  })

  test.each(['hostconfig', 'HOSTCONFIG', 'Ho\u017Ftconfig'])(
    '%s is HostConfig, as it is to the engine',
    async (key) => {
      const outcome = await create(`{"${key}":{"bind\u017F":["/etc:/e"]}}`)
      expect(outcome?.answer?.message).toContain('is not shared')
    },
  )

  test('of a volume or a service, and with a drive letter', async () => {
    const volume = await create(
      '{"DriverOpts":{"type":"none","o":"bind,ro","device":"/home/v"}}',
      'POST /volumes/create',
    )
    expect(decode(volume?.body)).toContain('"device":"/mnt/host/home/v"')
    const service = await create(
      '{"TaskTemplate":{"ContainerSpec":{"Mounts":[{"Type":"bind","Source":"/home/s"}]}}}',
      'POST /services/x/update?version=1',
    )
    expect(decode(service?.body)).toContain('"Source":"/mnt/host/home/s"')
    const drive = await create('{"HostConfig":{"Binds":["C:\\\\Users\\\\a:/data:ro"]}}')
    expect(decode(drive?.body)).toBe('{"HostConfig":{"Binds":["/mnt/c/Users/a:/data:ro"]}}')
  })

  test('is seen however its path is written', async () => {
    const outcome = await create(
      '{"HostConfig":{"Binds":["/etc:/e"]}}',
      'POST /containers/cre%61te',
    )
    expect(outcome?.answer?.status).toBe(400)
  })

  test('no body makes it throw', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const of = head('POST /containers/create')
        const target = apiTarget(of)
        const signal = new AbortController().signal
        const outcome = await inspector
          .inspect(target, of)
          ?.before?.({ target, head: of, body: bytes, signal })
        expect(outcome?.body).toBeUndefined()
      }),
    )
  })
})

describe('an answer', () => {
  test.each([
    [
      'GET /containers/a/json',
      '{"HostConfig":{"Binds":["/mnt/host/home/a:/a"]},"Mounts":[{"Type":"bind","Source":"/mnt/host/home/a"}]}',
    ],
    ['GET /containers/json?all=1', '[{"Mounts":[{"Type":"bind","Source":"/mnt/host/home/a"}]}]'],
    ['GET /volumes', '{"Volumes":[{"Options":{"o":"bind","device":"/mnt/host/home/a"}}]}'],
    [
      'GET /services/a',
      '{"Spec":{"TaskTemplate":{"ContainerSpec":{"Mounts":[{"Type":"bind","Source":"/mnt/host/home/a"}]}}}}',
    ],
    [
      'GET /system/df',
      '{"Containers":[{"Mounts":[{"Type":"bind","Source":"/mnt/host/home/a"}]}],"Volumes":[{"Options":{"o":"bind","device":"/mnt/host/home/b"}}]}',
    ],
    [
      'GET /tasks',
      '[{"Spec":{"ContainerSpec":{"Mounts":[{"Type":"bind","Source":"/mnt/host/home/a"}]}}}]',
    ],
  ])('to %s names the host’s paths', async (line, body) => {
    expect(await back(line, body)).toBe(body.replaceAll('/mnt/host', ''))
  })

  test('with the guest’s own paths stays as it is', async () => {
    const own = '[{"Mounts":[{"Type":"bind","Source":"/var/lib/x"}]}]'
    expect(await back('GET /containers/json', own)).toBeUndefined()
  })
})

const noPrivileged: ApiPolicy = ({ path, version, body }) =>
  path === '/containers/create' && version === '1.51' && JSON.stringify(body).includes('true')
    ? { allow: false, reason: 'no privileged containers' }
    : { allow: true }

const broken: ApiPolicy = () => {
  throw new Error('bug')
}
const allow: ApiPolicy = () => ({ allow: true })

const ask = async (policy: ApiPolicy, line: string, body: string): Promise<Outcome> => {
  const of = head(line)
  const target = apiTarget(of)
  const signal = new AbortController().signal
  const inspection = inspectPolicy(policy).inspect(target, of)
  return inspection?.before?.({ target, head: of, body: encode(body), signal })
}

describe('a policy', () => {
  test('sees method, path, version and body, and allows or denies', async () => {
    const line = 'POST /v1.51/containers/create'
    expect(await ask(noPrivileged, line, '{"HostConfig":{"Privileged":false}}')).toBeUndefined()
    expect(await ask(noPrivileged, line, '{"HostConfig":{"Privileged":true}}')).toEqual({
      answer: { status: 403, message: 'Denied by policy: no privileged containers' },
    })
  })

  test('that throws has denied, and so has a body that is not JSON', async () => {
    expect((await ask(broken, 'GET /info', ''))?.answer?.status).toBe(403)
    expect((await ask(allow, 'POST /volumes/create', '{'))?.answer?.status).toBe(403)
    const twice = await ask(allow, 'POST /volumes/create', '{"a":{"Name":1,"name":2}}')
    expect(twice?.answer?.message).toContain("names 'name' more than once")
  })
})
