/** `netkit up --docker` as a newcomer uses it: the docker command works, and Ctrl-C leaves nothing. */

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { ENGINE_IMAGE, qemuEngineMissing, runCommand } from '@netkit/guests'
import { afterEach, describe, expect, test } from 'vitest'
import { engineUnavailable, pageAt } from './docker-cli.ts'
import { unless } from './skip-reason.ts'

const missing = {
  auto: await engineUnavailable(),
  qemu: await qemuEngineMissing(),
}

interface Ready {
  readonly dockerHost: string
  readonly docker: string
}

let netkit: ChildProcess | undefined
afterEach(() => netkit?.kill('SIGKILL'))

describe.each(['auto', 'qemu'] as const)('netkit up --docker --guest %s', (kind) => {
  test(
    'prints DOCKER_HOST; run, a name and a build work; SIGINT ends it and leaves nothing',
    unless(missing[kind]),
    async () => {
      const mounts = await readFile('/proc/mounts', 'utf8')
      const main = join(import.meta.dirname, '../../packages/cli/src/main.ts')
      netkit = spawn(
        process.execPath,
        ['--conditions=netkit-source', main, 'up', '--docker', '--guest', kind, '--json'],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      )
      const { dockerHost, docker } = await ready(netkit)
      const run = async (args: readonly string[], input = ''): Promise<string> => {
        const env = {
          ...process.env,
          DOCKER_HOST: dockerHost,
          DOCKER_CONFIG: join(docker, '../config'),
        }
        const { code, stdout, stderr } = await runCommand(docker, args, {
          env,
          input,
          timeoutMs: 120_000,
        })
        expect({ args, code, stderr: code === 0 ? '' : stderr }).toEqual({
          args,
          code: 0,
          stderr: '',
        })
        return stdout.toString()
      }

      await run([
        'run',
        '-d',
        '--name',
        'web',
        '-p',
        '80',
        ENGINE_IMAGE,
        'httpd',
        '-f',
        '-p',
        '80',
        '-h',
        '/www',
      ])
      const port = /:(\d+)$/m.exec(await run(['port', 'web', '80/tcp']))?.[1]
      const url = `http://127.0.0.1:${port}/`
      expect(await pageAt(Number(port))).toBe('published\n')
      expect(
        await run(['run', '--rm', ENGINE_IMAGE, 'nslookup', '-type=a', 'host.docker.internal.']),
      ).toContain('192.168.')
      expect(
        await run(
          ['build', '-q', '--network', 'none', '-'],
          `FROM ${ENGINE_IMAGE}\nRUN echo built > /built\n`,
        ),
      ).toMatch(/^sha256:/)

      netkit.kill('SIGINT')
      expect(await once(netkit, 'exit')).toEqual([0, null])
      await expect(fetch(url)).rejects.toThrow('fetch failed')
      expect(existsSync(dockerHost.replace('unix://', ''))).toBe(false)
      expect(await readFile('/proc/mounts', 'utf8')).toBe(mounts)
    },
  )
})

async function ready({ stdout }: ChildProcess): Promise<Ready> {
  if (stdout === null) throw new TypeError('netkit has no output')
  for await (const line of createInterface({ input: stdout })) {
    const event = JSON.parse(line) as { event: string } & Ready
    if (event.event === 'ready') {
      stdout.resume()
      return event
    }
  }
  throw new Error('netkit ended before it was ready')
}
