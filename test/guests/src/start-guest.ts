/** Starts a guest of any kind on a network, and gives what a test or the tour needs of it. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FrameLink } from '@netkit/frames'
import { frameLinkOf } from './frame-link-of.ts'
import type { GuestKind, LinuxGuest, Progress } from './guest.ts'
import type { GuestTools } from './guest-tools.ts'
import { linuxTools } from './linux/linux-tools.ts'
import { netnsGuest } from './netns/netns-guest.ts'
import { bootQemu } from './qemu/qemu-guest.ts'
import { scriptedGuest } from './scripted/scripted-guest.ts'
import { bootV86 } from './v86/v86-guest.ts'

/** Options of `startGuest`. */
export interface StartGuestOptions {
  /** Attaches the guest's link to the network under test. */
  attach(link: FrameLink): void
  /** Largest IP packet of the link. Default 1500. */
  mtu?: number
  cache?: string
  progress?: Progress
  signal?: AbortSignal
}

/** A guest on a network. It has no lease yet. */
export interface StartedGuest extends AsyncDisposable {
  readonly kind: GuestKind
  readonly description: string
  readonly tools: GuestTools
  /** The guest's own shell, where it has a kernel. */
  readonly linux: LinuxGuest | undefined
  /** What a scripted guest saw the network do wrong; a kernel keeps counters instead. */
  readonly problems: readonly string[]
  /** Ends the guest and its link. Idempotent. */
  close(): Promise<void>
}

const given = <T extends object>(options: T): Partial<T> =>
  Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as Partial<T>

/** Attaches a guest that runs already. */
export async function attachLinux(
  guest: LinuxGuest,
  options: StartGuestOptions,
): Promise<StartedGuest> {
  const link = await frameLinkOf(guest.link, given({ mtu: options.mtu }))
  options.attach(link)
  const close = async (): Promise<void> => {
    await guest.close()
    await link.close()
  }
  return {
    kind: guest.kind,
    description: guest.description,
    tools: linuxTools(guest),
    linux: guest,
    problems: [],
    close,
    [Symbol.asyncDispose]: close,
  }
}

async function startScripted(options: StartGuestOptions): Promise<StartedGuest> {
  const folder = await mkdtemp(join(tmpdir(), 'netkit-guest-'))
  const path = join(folder, 'frames.sock')
  const link = await frameLinkOf({ kind: 'dials', path }, given({ mtu: options.mtu }))
  options.attach(link)
  const guest = await scriptedGuest(path)
  const close = async (): Promise<void> => {
    await guest.close()
    await link.close()
    await rm(folder, { recursive: true, force: true })
  }
  return { ...guest, linux: undefined, close, [Symbol.asyncDispose]: close }
}

function bootLinux(
  kind: Exclude<GuestKind, 'scripted'>,
  { mtu, cache, progress, signal }: StartGuestOptions,
): Promise<LinuxGuest> {
  if (kind === 'netns') return netnsGuest(given({ mtu }))
  const options = given({ cache, progress, signal })
  return kind === 'qemu' ? bootQemu(options) : bootV86(options)
}

/** Starts a guest. Rejects with `NETKIT_GUEST_UNAVAILABLE` where its kind cannot run. */
export async function startGuest(
  kind: GuestKind,
  options: StartGuestOptions,
): Promise<StartedGuest> {
  if (kind === 'scripted') return startScripted(options)
  const guest = await bootLinux(kind, options)
  try {
    return await attachLinux(guest, options)
  } catch (error) {
    await guest.close()
    throw error
  }
}
