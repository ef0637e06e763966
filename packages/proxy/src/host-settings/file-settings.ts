/**
 * Settings in a file of `name=value` lines, as `/etc/environment` has them: `https_proxy=http://proxy.example:3128`.
 */

import { systemClock } from '@netkit/core'
import type { Clock } from '@netkit/core'
import { watchFiles, WATCH_POLL_MS } from '@netkit/core/node'
import type { FileTexts, HostFiles } from '@netkit/core/node'
import { envSettings } from '../env-settings.ts'
import type { ProxySettings, SettingsWatch } from '../proxy-settings.ts'
import { LiveSettings } from './live-settings.ts'

/** Options of `fileSettings`. */
export interface FileSettingsOptions {
  /** Default `/etc/environment`. */
  readonly path?: string
  readonly files?: HostFiles
  readonly clock?: Clock
}

/** Follows the `*_proxy` variables in a file; without the file there are no settings. */
export function fileSettings(options: FileSettingsOptions = {}): Promise<SettingsWatch> {
  const { path = '/etc/environment' } = options
  return fileBackedSettings(path, [path], options, (texts) =>
    envSettings(parseAssignments(texts.get(path) ?? '')),
  )
}

/** Follows files that `parse` makes settings of. */
export async function fileBackedSettings(
  source: string,
  paths: readonly string[],
  { files, clock = systemClock }: Pick<FileSettingsOptions, 'files' | 'clock'>,
  parse: (texts: FileTexts) => ProxySettings,
): Promise<SettingsWatch> {
  const live = new LiveSettings({
    origin: { source, changes: 'events', pollMs: WATCH_POLL_MS },
    clock,
  })
  const watch = await watchFiles({
    paths,
    clock,
    ...(files && { files }),
    onChange: (texts) => live.set(parse(texts)),
  })
  live.set(parse(watch.texts))
  live.closeWith(() => void watch.close())
  return live
}

/** `name=value` lines; `export`, quotes and comments as a shell and pam_env take them. */
function parseAssignments(text: string): Record<string, string> {
  const found: Record<string, string> = {}
  for (const line of text.split(/\r?\n/)) {
    const { name, quoted, plain } =
      /^\s*(?:export\s+)?(?<name>\w+)=(?:(?<mark>["'])(?<quoted>.*)\k<mark>|(?<plain>[^#]*?))\s*(?:#.*)?$/.exec(
        line,
      )?.groups ?? {}
    if (name !== undefined) found[name] = quoted ?? plain ?? ''
  }
  return found
}
