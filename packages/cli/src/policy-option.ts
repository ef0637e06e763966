/** `--policy <file>`: read and checked before anything is started, and followed where a network goes on. */

import { readFileSync } from 'node:fs'
import { egressRules, NetkitError } from '@netkit/core'
import type { EgressPolicy } from '@netkit/core'
import { followPolicyFile, parsePolicyFile } from '@netkit/guestnet'
import type { FollowedPolicy } from '@netkit/guestnet'
import type { Reporter } from './reporter.ts'

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

/** The policy of a network that runs: what its file says from now on holds from then on. @throws the same at the start. */
export async function followPolicy(
  file: string | undefined,
  reporter: Reporter,
): Promise<FollowedPolicy | undefined> {
  if (file === undefined) return undefined
  return followPolicyFile(file, {
    onChange: ({ rules, fallback }) =>
      reporter.event(
        'policy',
        { file, rules: rules.length, fallback },
        `${file} changed: ${rules.length} rules hold now, live flows were decided again`,
      ),
    onInvalid: ({ message }) =>
      reporter.event(
        'policy-invalid',
        { file, error: message },
        `${message}\nThe policy that was read before still holds.`,
      ),
  })
}
