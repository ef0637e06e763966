/**
 * Which guests can run here. What cannot is named at the end of the run (`test/reporter`), and is a failure when `REQUIRE_GUESTS` asks for it
 * (`REQUIRE_GUESTS=qemu,v86,netns`).
 */

import { findProgram, guestOptions, netnsMissing, type GuestKind } from '@netkit/guests'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    /** Why a kind cannot run; kinds that can are left out. */
    missingGuests: Partial<Record<GuestKind, string>>
    /** Why captures cannot be read here. */
    missingTshark: string | undefined
  }
}

const KINDS: readonly GuestKind[] = ['qemu', 'v86', 'netns', 'scripted']

function requiredKinds(): GuestKind[] {
  const names = (process.env['REQUIRE_GUESTS'] ?? '').split(',').filter(Boolean)
  const unknown = names.filter((name) => !KINDS.some((kind) => kind === name))
  if (unknown.length > 0)
    throw new Error(`REQUIRE_GUESTS names ${unknown.join(', ')}; there are ${KINDS.join(', ')}.`)
  return KINDS.filter((kind) => names.includes(kind))
}

/** Vitest's global setup. */
export default async function setup(project: TestProject): Promise<void> {
  const missing: Partial<Record<GuestKind, string>> = {}
  for (const { kind, available, missing: what, advice } of await guestOptions())
    if (!available) missing[kind] = `${what}. To get it: ${advice}`
  const netns = await netnsMissing()
  if (netns !== undefined) missing.netns = netns

  const required = requiredKinds()
  const notTested = new Map<string, string>(Object.entries(missing))
  if ((await findProgram('tshark')) === undefined)
    notTested.set('captures', 'tshark is not installed. To get it: apt-get install tshark')
  const unmet = [...notTested].filter(
    ([what]) =>
      required.some((kind) => kind === what) || (what === 'captures' && required.length > 0),
  )
  if (unmet.length > 0)
    throw new Error(
      `REQUIRE_GUESTS cannot be met:\n${unmet.map(([what, why]) => `  ${what}: ${why}`).join('\n')}`,
    )
  project.provide('missingGuests', missing)
  project.provide('missingTshark', notTested.get('captures'))
}
