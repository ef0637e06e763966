/** `--policy <file>`: read and checked before anything is started. */

import { readFileSync } from 'node:fs'
import { egressRules } from '@netkit/core'
import type { EgressPolicy } from '@netkit/core'
import { parsePolicyFile } from '@netkit/guestnet'

/** @throws NetkitError `NETKIT_POLICY_FILE` with the line. */
export function readPolicy(file: string | undefined): EgressPolicy | undefined {
  if (file === undefined) return undefined
  const { rules, fallback } = parsePolicyFile(readFileSync(file, 'utf8'), file)
  return egressRules(rules, { fallback })
}
