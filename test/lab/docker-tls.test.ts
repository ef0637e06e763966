/** The API on TCP, where both sides show certificates: `run -i` through two proxies with TLS between them, and a stranger. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createApiProxy } from '@netkit/apiproxy'
import type { ApiProxy } from '@netkit/apiproxy'
import { hostNetwork, mutualTlsAcceptor, mutualTlsDialer } from '@netkit/core/node'
import type { TlsIdentity } from '@netkit/core/node'
import { ENGINE_IMAGE, runCommand } from '@netkit/guests'
import type { EngineGuest } from '@netkit/guests'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { engineUnavailable, startLabEngine } from './docker-cli.ts'
import type { CommandResult } from './docker-cli.ts'
import { unless } from './skip-reason.ts'

const missing = await engineUnavailable()

describe('docker’s API on TCP', unless(missing), () => {
  let folder: string
  let engine: EngineGuest
  let near: ApiProxy
  let far: ApiProxy
  let host: string
  let docker: (args: readonly string[], input?: string) => Promise<CommandResult>

  const openssl = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await runCommand('openssl', args, { cwd: folder, timeoutMs: 60_000 })
    if (code !== 0) throw new Error(stderr)
  }

  /** A key and a certificate of the authority, in the files that docker looks for. */
  const identity = async (name: string, authority: string): Promise<TlsIdentity> => {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout']
    await writeFile(join(folder, 'names'), 'subjectAltName=IP:127.0.0.1')
    await openssl(
      'req',
      '-x509',
      ...key,
      `${authority}.key`,
      '-out',
      `${authority}.pem`,
      '-subj',
      `/CN=${authority}`,
    )
    await openssl('req', ...key, `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`)
    const by = ['-CA', `${authority}.pem`, '-CAkey', `${authority}.key`, '-CAcreateserial']
    await openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...by,
      '-extfile',
      'names',
      '-out',
      `${name}.pem`,
    )
    const read = (file: string): Promise<Buffer> => readFile(join(folder, file))
    return {
      ca: await read(`${authority}.pem`),
      cert: await read(`${name}.pem`),
      key: await read(`${name}.key`),
    }
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'netkit-tls-'))
    const started = await startLabEngine()
    engine = started.engine
    const network = hostNetwork()
    const both = await identity('both', 'ours')
    far = createApiProxy({ engine: { network, endpoint: { path: engine.socket } } })
    const at = { ip: '127.0.0.1', port: 0 }
    const { address } = await far.listen(mutualTlsAcceptor(network, both), at)
    near = createApiProxy({
      engine: {
        network: mutualTlsDialer(network, { ...both, serverName: '127.0.0.1' }),
        endpoint: address,
      },
    })
    const socket = join(folder, 'docker.sock')
    await near.listen(network, { path: socket })
    host = 'port' in address ? `tcp://127.0.0.1:${address.port}` : ''
    docker = (args, input) => started.docker(socket, args, input)
  })

  afterAll(async () => {
    await near?.close()
    await far?.close()
    await engine?.close()
    await rm(folder, { recursive: true, force: true })
  })

  test('input ends, and output comes after it', async () => {
    const run = ['run', '--rm', '-i', ENGINE_IMAGE, 'sh', '-c', 'cat; sleep 0.3; echo late']
    expect(await docker(run, 'typed\n')).toEqual({ code: 0, stdout: 'typed\nlate\n', stderr: '' })
  })

  test('the docker command itself shows its certificate, and is served', async () => {
    const files = ['--tlscacert', 'ours.pem', '--tlscert', 'both.pem', '--tlskey', 'both.key']
    const args = ['-H', host, '--tlsverify', ...files, 'version', '--format', '{{.Server.Version}}']
    const { code, stdout } = await runCommand(engine.client.docker, args, {
      cwd: folder,
      timeoutMs: 60_000,
    })
    expect({ code, stdout: stdout.toString() }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^28\./),
    })
  })

  test('a command with another authority’s certificate is not, nor is one without', async () => {
    await identity('stranger', 'theirs')
    const files = [
      '--tlscacert',
      'ours.pem',
      '--tlscert',
      'stranger.pem',
      '--tlskey',
      'stranger.key',
    ]
    const strangers = [
      ['-H', host, '--tlsverify', ...files],
      ['-H', host],
    ]
    for (const stranger of strangers) {
      const served = far.stats().requests
      const { code } = await runCommand(engine.client.docker, [...stranger, 'version'], {
        cwd: folder,
        timeoutMs: 60_000,
      })
      expect(code).toBe(1)
      expect(far.stats().requests).toBe(served)
    }
  })
})
