import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

async function bundleForBrowser(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL('.', import.meta.url)), loader: 'ts' },
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'esm',
    conditions: ['netkit-source'],
    logLevel: 'silent',
  })
  return outputFiles[0]?.text ?? ''
}

describe('the portable packages run in a browser', () => {
  const portable = ['core', 'frames', 'tcpip', 'dns', 'testnet'].filter((name) =>
    existsSync(`${root}packages/${name}/package.json`),
  )

  test.each(portable)(
    '@netkit/%s bundles for a browser: it reaches no node: module',
    async (name) => {
      await expect(bundleForBrowser(`export * from '@netkit/${name}'`)).resolves.toBeTypeOf(
        'string',
      )
    },
  )

  test('a bundle that reaches a node: module fails here', async () => {
    await expect(bundleForBrowser(`export * from 'node:net'`)).rejects.toThrow('node:net')
  })
})
