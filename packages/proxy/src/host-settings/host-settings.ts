/**
 * The proxy settings of this host, whatever it is.
 *
 * | host | read from | told of changes by |
 * |---|---|---|
 * | macOS | `scutil --proxy` | `scutil`'s notifications |
 * | Windows | Internet Settings in the registry | WMI's registry events |
 * | KDE | kioslaverc | the file |
 * | GNOME and its relatives | `org.gnome.system.proxy` | `gsettings monitor` |
 * | other Linux | `/etc/environment` | the file |
 */

import type { Clock } from '@netkit/core'
import type { HostFiles, StartProcess } from '@netkit/core/node'
import type { Environment } from '../env-settings.ts'
import type { SettingsWatch } from '../proxy-settings.ts'
import { fileSettings } from './file-settings.ts'
import { gnomeSettings } from './gnome-settings.ts'
import { kdeSettings } from './kde-settings.ts'
import { macSettings } from './mac-settings.ts'
import { windowsSettings } from './windows-settings.ts'

/** Options of `hostSettings`. */
export interface HostSettingsOptions {
  /** Default this process's. */
  readonly platform?: NodeJS.Platform
  /** Default this process's. */
  readonly environment?: Environment
  readonly start?: StartProcess
  readonly files?: HostFiles
  readonly clock?: Clock
}

/** Follows the host's settings. Resolves once they have been read. */
export async function hostSettings(options: HostSettingsOptions = {}): Promise<SettingsWatch> {
  const { platform = process.platform, environment = process.env } = options
  if (platform === 'darwin') return macSettings(options)
  if (platform === 'win32') return windowsSettings(options)
  const desktops = (environment['XDG_CURRENT_DESKTOP'] ?? '').split(':')
  if (desktops.includes('KDE')) return kdeSettings(options)
  const isGnome = desktops.some((name) => GNOME_RELATIVES.has(name.replace(/^X-/, '')))
  return (isGnome ? await gnomeSettings(options) : undefined) ?? fileSettings(options)
}

const GNOME_RELATIVES = new Set(['GNOME', 'Unity', 'Cinnamon', 'Budgie', 'Pantheon', 'ubuntu'])
