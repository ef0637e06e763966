/** `--policy <file>`: read and checked before anything is started. */

import { readFileSync } from 'node:fs'
import { egressRules, NetkitError } from '@netkit/core'
import type { EgressPolicy } from '@netkit/core'
import { parsePolicyFile } from '@netkit/guestnet'

/** @throws NetkitError `NETKIT_POLICY_FILE`: the file cannot be read, or is wrong, with the line. */
export function readPolicy(file: string | undefined): EgressPolicy | undefined {
  if (file === undefined) return undefined
  const { rules, fallback } = parsePolicyFile(readText(file), file)
  return egressRules(rules, { fallback })
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new NetkitError(
      'NETKIT_POLICY_FILE',
      `The policy file ${file} could not be read: ${(cause as Error).message}. Name a JSON file that you may read; docs/policy.md has examples.`,
      { cause },
    )
  }
}
