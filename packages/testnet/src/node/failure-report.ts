/** What is kept of a net whose test failed. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NodeTestnet } from './node-testnet.ts'

/** The seed for a test: its name's, so that each has its own luck and keeps it; `TESTNET_SEED` overrides it. */
export function seedFor(name: string): number {
  const given = process.env['TESTNET_SEED']
  if (given !== undefined && given !== '') return Number(given) >>> 0
  // FNV-1a.
  let hash = 0x811c9dc5
  for (const letter of name) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 0x01000193)
  return hash >>> 0
}

/**
 * Writes the capture, readable by its owner alone, and says where it is, how to run the test with the same luck, and what was open.
 *
 * @param command - Runs this test alone.
 * @param folder - Default `netkit-testnet` among the temporary files.
 */
export function reportFailure(
  net: NodeTestnet,
  name: string,
  command: string,
  folder: string = join(tmpdir(), 'netkit-testnet'),
): string {
  const seed = `0x${net.seed.toString(16).padStart(8, '0')}`
  const file = join(folder, `${name.replaceAll(/[^\w.-]+/g, '-').slice(0, 80)}-${seed}.pcapng`)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeFileSync(file, net.pcap(), { mode: 0o600 })
  return [`packets: ${file}`, `again:   TESTNET_SEED=${seed} ${command}`, net.netstatTable()].join(
    '\n',
  )
}
