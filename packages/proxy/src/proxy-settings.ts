/**
 * Proxy settings as operating systems keep them, and the decision they lead to. Every platform's parser ends in this form.
 */

import { NetkitError } from '@netkit/core'
import type { DecisionSource, Hop, ProxyHop, ProxyTarget, SourceAnswer } from './decision.ts'
import { compileExceptions } from './exceptions.ts'
import type { ExceptionOptions, Exceptions } from './exceptions.ts'

/** What a host is set to. */
export interface ProxySettings {
  /** For `http:`. */
  readonly http?: ProxyHop
  /** For `https:`. */
  readonly https?: ProxyHop
  /** For everything that has no proxy of its own. */
  readonly all?: ProxyHop
  /** Where the PAC script is. */
  readonly pacUrl?: string
  readonly exceptions?: readonly string[]
  readonly exceptionOptions?: ExceptionOptions
  /** Everything but the exceptions goes direct (KDE's ReversedException). */
  readonly onlyExceptions?: boolean
  /** What could not be understood, for `explain`. */
  readonly ignored?: readonly string[]
}

/** Where settings come from, and how their changes are seen. */
export interface SettingsOrigin {
  /** `scutil --proxy`, `/etc/environment`, … */
  readonly source: string
  /** `events`: the OS tells; `polled`: they are read every `pollMs`; `none`: they stay. */
  readonly changes: 'events' | 'polled' | 'none'
  /** How often they are read, `ms`: where there are events, in case one is lost. */
  readonly pollMs?: number
}

/** Settings that may change. */
export interface SettingsWatch extends AsyncDisposable {
  readonly origin: SettingsOrigin
  /** The settings of the moment; a change is a new object. */
  readonly current: ProxySettings
  onChange(run: () => void): () => void
  close(): Promise<void>
}

/** Settings that stay. */
export function fixedSettings(current: ProxySettings, source = 'given'): SettingsWatch {
  return {
    origin: { source, changes: 'none' },
    current,
    onChange: () => () => {},
    close: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

/** Evaluates PAC scripts; see `@netkit/proxy/pac`. */
export interface PacEvaluator {
  /** Hops for a target by the script at `url`; rejects when there is none and none is remembered. */
  hopsFor(url: string, target: ProxyTarget, signal?: AbortSignal): Promise<readonly Hop[]>
}

/** Options of `settingsSource`. */
export interface SettingsSourceOptions {
  /** Evaluates PAC scripts. Without it a host that is set to PAC is answered as `pacFailure` says. */
  readonly pac?: PacEvaluator
  /**
   * When a PAC script cannot be had: `direct` (the default, as browsers), `deny`, or `next` to ask the next source.
   */
  readonly pacFailure?: 'direct' | 'deny' | 'next'
}

/** A source from settings; the settings of the moment hold. */
export function settingsSource(
  name: string,
  settings: SettingsWatch,
  options: SettingsSourceOptions = {},
): DecisionSource {
  // Compiled once per settings object; an atomic swap is a new object.
  let compiled: { of: ProxySettings; exceptions: Exceptions } | undefined
  const exceptionsOf = (current: ProxySettings): Exceptions => {
    if (compiled?.of !== current) {
      const exceptions = compileExceptions(current.exceptions ?? [], current.exceptionOptions)
      compiled = { of: current, exceptions }
    }
    return compiled.exceptions
  }
  return {
    name,
    onChange: (run) => settings.onChange(run),
    describe: () => describeSettings(settings),
    decide(target, signal) {
      const { current } = settings
      const { pacUrl } = current
      const hop = hopFor(current, target)
      if (hop === undefined && pacUrl === undefined) return undefined
      const entry = exceptionsOf(current).match(target)
      const isExempt = (entry !== undefined) !== (current.onlyExceptions ?? false)
      // Windows and GNOME do not ask their lists when a script decides, except for loopback.
      if (isExempt && (pacUrl === undefined || entry === 'loopback')) {
        const reason =
          entry === undefined ? 'not among the only exceptions' : `exception '${entry}'`
        return { hops: [{ via: 'direct' }], reason }
      }
      if (pacUrl !== undefined) return byPac(pacUrl, target, options, signal)
      return hop && { hops: [hop], reason: `the proxy set for ${target.scheme}` }
    },
  }
}

function describeSettings({ origin, current }: SettingsWatch): string {
  const every = origin.pollMs === undefined ? '' : `every ${origin.pollMs / 1000} s`
  const followed = {
    events: `followed by events${every === '' ? '' : ` and ${every}`}`,
    polled: `read ${every}`,
    none: 'fixed',
  }[origin.changes]
  const ignored = current.ignored ?? []
  return [origin.source, followed, ...ignored.map((what) => `ignored: ${what}`)].join(', ')
}

function hopFor(settings: ProxySettings, { scheme }: ProxyTarget): ProxyHop | undefined {
  if (scheme === 'http') return settings.http ?? settings.all
  if (scheme === 'https') return settings.https ?? settings.all
  return settings.all ?? settings.https
}

async function byPac(
  url: string,
  target: ProxyTarget,
  options: SettingsSourceOptions,
  signal: AbortSignal | undefined,
): Promise<SourceAnswer | undefined> {
  const { pac, pacFailure = 'direct' } = options
  let reason = 'no evaluator for PAC scripts was given'
  if (pac !== undefined) {
    try {
      return { hops: await pac.hopsFor(url, target, signal), reason: `by ${url}` }
    } catch (error) {
      signal?.throwIfAborted()
      reason = error instanceof Error ? error.message : String(error)
    }
  }
  if (pacFailure === 'next') return undefined
  if (pacFailure === 'direct') return { hops: [{ via: 'direct' }], reason }
  return { hops: [], deny: { rule: 'pac', reason }, reason }
}

const DEFAULT_PORTS = { http: 80, https: 443, socks5: 1080 } as const

/**
 * Reads `proxy.example:3128`, `http://user:password@proxy.example`, `socks5://[2001:db8::1]:1080`. What names no proxy, like the
 * `http://none` that some tools write, is `undefined`.
 *
 * @param defaults.scheme - Where the text has none; default `http`.
 * @param defaults.port - Where the text has none; default the scheme's own.
 */
export function parseProxy(
  text: string,
  defaults: { scheme?: ProxyHop['via']; port?: number } = {},
): ProxyHop | undefined {
  const word = text.trim().replace(/^(?<scheme>[a-z0-9+.-]+:\/\/\S+) (?<port>\d+)\/?$/i, '$1:$2')
  if (/^(?:[a-z0-9]+:\/\/)?(?:none|null|undefined)?\/?$/i.test(word)) return undefined
  const written = /^(?<scheme>[a-z][a-z0-9+.-]*):\/\//i.exec(word)?.groups?.['scheme']
  const via = viaOf(written?.toLowerCase() ?? defaults.scheme ?? 'http')
  if (via === undefined) return undefined
  // A scheme that URL knows nothing of keeps the port as it is written.
  const rest = written === undefined ? word : word.slice(written.length + 3)
  if (!URL.canParse(`proxy://${rest}`)) return undefined
  const url = new URL(`proxy://${rest}`)
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1').toLowerCase()
  if (host === '' || /[\s*<>]/.test(host)) return undefined
  const port = url.port === '' ? (defaults.port ?? DEFAULT_PORTS[via]) : Number(url.port)
  if (port === 0) return undefined
  const hop = { via, host, port }
  if (url.username === '') return hop
  return {
    ...hop,
    credentials: { username: decode(url.username), password: decode(url.password) },
  }
}

const decode = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

function viaOf(scheme: string): ProxyHop['via'] | undefined {
  if (scheme === 'http' || scheme === 'https') return scheme
  return /^socks(?:5h?)?$/.test(scheme) ? 'socks5' : undefined
}

/** As `parseProxy`, for options and files: what is no proxy is an error that names its place. */
export function requireProxy(text: string, place: string): ProxyHop {
  const hop = parseProxy(text)
  if (hop !== undefined) return hop
  throw new NetkitError(
    'NETKIT_PROXY_INVALID',
    `${place} is '${text}', which names no proxy. Write http://host:port, https://host:port or socks5://host:port.`,
  )
}
