/**
 * Windows: the Internet Settings of the user, or of the machine where a policy says so, told by one PowerShell that is kept running.
 *
 * ```
 *   powershell.exe ─▶ one line of JSON at the start, and whenever the registry keys changed (looked at every 5 s as well)
 *   ProxySettingsPerUser = 0 ? HKLM : HKCU  ─▶  ProxyEnable, ProxyServer, ProxyOverride, AutoConfigURL
 * ```
 *
 * The registry's WMI events know no HKEY_CURRENT_USER, so the user's key is watched below HKEY_USERS by its SID. Credentials are asked
 * by each program and are not in the registry. WinHTTP's own settings (`netsh winhttp`) are for services and are not read.
 */

import { systemClock } from '@netkit/core'
import type { Clock } from '@netkit/core'
import { powershellSnapshots, startProcess, WATCH_POLL_MS } from '@netkit/core/node'
import type { StartProcess } from '@netkit/core/node'
import { parseProxy } from '../proxy-settings.ts'
import type { ProxySettings, SettingsWatch } from '../proxy-settings.ts'
import { LiveSettings } from './live-settings.ts'

/** One line of the PowerShell script. */
export interface WindowsProxySnapshot {
  /** `ProxySettingsPerUser` of the policy; 0: the machine's settings hold for everybody. */
  readonly perUser?: number | null
  readonly user?: InternetSettings | null
  readonly machine?: InternetSettings | null
  /** The ninth byte of `Connections\DefaultConnectionSettings`: 2 a proxy, 4 a script, 8 automatic detection. */
  readonly flags?: number | null
}

/** Values of `…\CurrentVersion\Internet Settings`. */
export interface InternetSettings {
  readonly ProxyEnable?: number | null
  readonly ProxyServer?: string | null
  readonly ProxyOverride?: string | null
  readonly AutoConfigURL?: string | null
}

/** Prints, waits for a change, and begins again. It ends when its parent does. */
const SCRIPT = `
$ErrorActionPreference = 'SilentlyContinue'
$parent = %PARENT%
$path = 'SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Internet Settings'
$policy = 'SOFTWARE\\Policies\\Microsoft\\Windows\\CurrentVersion\\Internet Settings'
function Show {
  $bytes = (Get-ItemProperty "HKCU:\\$path\\Connections").DefaultConnectionSettings
  $names = 'ProxyEnable', 'ProxyServer', 'ProxyOverride', 'AutoConfigURL'
  @{
    perUser = (Get-ItemProperty "HKLM:\\$policy").ProxySettingsPerUser
    user = Get-ItemProperty "HKCU:\\$path" | Select-Object $names
    machine = Get-ItemProperty "HKLM:\\$path" | Select-Object $names
    flags = if ($bytes) { $bytes[8] } else { $null }
  } | ConvertTo-Json -Compress
}
$sid = [System.Security.Principal.WindowsIdentity]::GetCurrent().User.Value
foreach ($watch in @(@('HKEY_USERS', "$sid\\$path"), @('HKEY_LOCAL_MACHINE', $path), @('HKEY_LOCAL_MACHINE', $policy))) {
  $root = $watch[1].Replace('\\', '\\\\')
  Register-WmiEvent -Query "SELECT * FROM RegistryTreeChangeEvent WHERE Hive='$($watch[0])' AND RootPath='$root'" | Out-Null
}
while (Get-Process -Id $parent) {
  Show
  $event = Wait-Event -Timeout ${WATCH_POLL_MS / 1000}
  if ($event) { Start-Sleep -Milliseconds 100; Get-Event | Remove-Event }
}
`

/** Options of `windowsSettings`. */
export interface WindowsSettingsOptions {
  readonly start?: StartProcess
  readonly clock?: Clock
}

/** Follows the settings of a Windows host. Resolves once the first line is there, or PowerShell has failed. */
export async function windowsSettings(
  options: WindowsSettingsOptions = {},
): Promise<SettingsWatch> {
  const { start = startProcess, clock = systemClock } = options
  const live = new LiveSettings({
    origin: { source: 'Internet Settings', changes: 'events', pollMs: WATCH_POLL_MS },
    clock,
  })
  await new Promise<void>((resolve) => {
    const stop = powershellSnapshots<WindowsProxySnapshot>({
      start,
      clock,
      script: SCRIPT,
      onSnapshot(snapshot) {
        live.set(windowsProxySettings(snapshot))
        resolve()
      },
      onGap: resolve,
    })
    live.closeWith(stop)
  })
  return live
}

/** The settings in a snapshot. Never throws. */
export function windowsProxySettings(snapshot: WindowsProxySnapshot): ProxySettings {
  const { perUser, user, machine, flags } = snapshot
  const values = (perUser === 0 ? machine : user) ?? {}
  const ignored: string[] = []
  const pacUrl = values.AutoConfigURL?.trim() ?? ''
  if (((flags ?? 0) & 8) !== 0) ignored.push('automatic detection: WPAD is not followed')
  const server = values.ProxyEnable === 1 ? (values.ProxyServer?.trim() ?? '') : ''
  return {
    ...parseProxyServer(server, ignored),
    ...(pacUrl !== '' && { pacUrl }),
    exceptions: values.ProxyOverride ? [values.ProxyOverride] : [],
    // `corp.example` is that name only; what lies below is written `*.corp.example`.
    exceptionOptions: { suffixes: false },
    ignored,
  }
}

/** `proxy.example:8080`, or `http=one.example:80;https=two.example:443;socks=three.example:1080`. */
function parseProxyServer(
  text: string,
  ignored: string[],
): Pick<ProxySettings, 'http' | 'https' | 'all'> {
  const found: { -readonly [Key in 'http' | 'https' | 'all']?: ProxySettings[Key] } = {}
  for (const entry of text.split(/[;\s]+/).filter(Boolean)) {
    const { kind, rest } = /^(?:(?<kind>[a-z]+)=)?(?<rest>.*)$/i.exec(entry)?.groups ?? {}
    const name = kind?.toLowerCase()
    if (name === 'ftp' || name === 'gopher') continue
    const hop = parseProxy(rest ?? '', { scheme: name === 'socks' ? 'socks5' : 'http' })
    if (hop === undefined || (name !== undefined && !['http', 'https', 'socks'].includes(name))) {
      ignored.push(`ProxyServer ${entry}`)
    } else if (name === 'http' || name === 'https') found[name] = hop
    else found.all = hop
  }
  return found
}
