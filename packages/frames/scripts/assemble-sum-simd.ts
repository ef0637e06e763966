/**
 * Assembles src/checksum/sum-simd.wat into src/checksum/sum-simd.generated.ts.
 *
 *     node scripts/assemble-sum-simd.ts
 *
 * The result is committed, so that nobody needs an assembler to install or bundle netkit; src/checksum/sum-simd.test.ts
 * assembles again and compares.
 */

import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import wabt from 'wabt'

const SOURCE = new URL('../src/checksum/sum-simd.wat', import.meta.url)
const RESULT = new URL('../src/checksum/sum-simd.generated.ts', import.meta.url)

/** The text of sum-simd.generated.ts as the WAT file says it should be. */
export async function assembleSumSimd(): Promise<string> {
  const toolkit = await wabt()
  const parsed = toolkit.parseWat('sum-simd.wat', await readFile(SOURCE, 'utf8'), {
    simd: true,
    bulk_memory: true,
  })
  try {
    parsed.validate()
    const { buffer } = parsed.toBinary({ write_debug_names: false })
    return [
      '// Assembled from sum-simd.wat by scripts/assemble-sum-simd.ts: edit that, run this.',
      '',
      '/** A WebAssembly module, base64. Imports `netkit.memory`, exports `sum(at, length)`, `copySum(to, at, length)` and `copy(to, at, length)`. */',
      'export const SUM_SIMD_WASM: string =',
      `  '${Buffer.from(buffer).toString('base64')}'`,
      '',
    ].join('\n')
  } finally {
    parsed.destroy()
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await writeFile(RESULT, await assembleSumSimd())
