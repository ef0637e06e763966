/** Which guest this machine can run, and what a better one would take. */

import { findProgram, qemuMissing } from './qemu/qemu-files.ts'
import { cacheFolder } from './cache.ts'
import type { GuestKind } from './guest.ts'
import { v86IsBuilt } from './v86/v86-image.ts'

/** One kind of guest, and whether it can run here. */
export interface GuestOption {
  readonly kind: Exclude<GuestKind, 'netns'>
  readonly available: boolean
  /** What is missing, when it is not available. */
  readonly missing?: string
  /** How to get it, when it is not available: a command or a condition. */
  readonly advice?: string
}

/** The kinds of guests the demo knows, best first. Nothing is started or downloaded. */
export async function guestOptions(cache: string = cacheFolder()): Promise<readonly GuestOption[]> {
  const missing = await qemuMissing()
  const qemu: GuestOption =
    missing === undefined
      ? { kind: 'qemu', available: true }
      : {
          kind: 'qemu',
          available: false,
          missing: `not installed: ${missing}`,
          advice: `apt-get install ${missing.replaceAll(',', '')}`,
        }
  return [qemu, await v86Option(cache), { kind: 'scripted', available: true }]
}

async function v86Option(cache: string): Promise<GuestOption> {
  if (await v86IsBuilt(cache)) return { kind: 'v86', available: true }
  const programs = ['apt-get', 'dpkg-deb']
  const found = await Promise.all(programs.map(findProgram))
  const absent = programs.filter((_, i) => found[i] === undefined)
  if (absent.length === 0) return { kind: 'v86', available: true }
  return {
    kind: 'v86',
    available: false,
    missing: `its image is not in ${cache} and cannot be built without ${absent.join(', ')}`,
    advice: 'build it once on a Debian machine (netkit up --guest v86) and copy that folder here',
  }
}

/** The best guest that is available, and the next better ones with what they take. */
export async function bestGuest(
  cache?: string,
): Promise<{ readonly best: GuestOption; readonly better: readonly GuestOption[] }> {
  const options = await guestOptions(cache)
  const at = options.findIndex((option) => option.available)
  const best = options[at]
  // The scripted guest needs nothing.
  if (best === undefined) throw new TypeError('No guest is available, not even the scripted one.')
  return { best, better: options.slice(0, at) }
}
