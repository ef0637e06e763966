/** The best way into this host's name service. */

import { platform } from 'node:os'
import type { Clock, Network, Random } from '@netkit/core'
import type { HostResolver } from '../host-resolver.ts'
import { hostFiles } from '@netkit/core/node'
import type { HostFiles } from '@netkit/core/node'
import { linuxResolver } from './linux-resolver.ts'
import { macResolver } from './mac-resolver.ts'
import { windowsResolver } from './windows-resolver.ts'

/** Options of `hostResolver`. */
export interface HostResolverOptions {
  /** Where queries leave from: the host's network, guarded or not. */
  network: Network
  files?: HostFiles
  clock?: Clock
  random?: Random
}

/**
 * Finds and opens the best way into this host's name service; `capabilities` says what it can do. Names go where the host itself
 * would send them, and no public resolver is ever put in their place.
 */
export async function hostResolver(options: HostResolverOptions): Promise<HostResolver> {
  if (platform() === 'darwin') return await macResolver(options)
  if (platform() === 'win32') return await windowsResolver(options)
  return await linuxResolver({ files: hostFiles, ...options })
}
