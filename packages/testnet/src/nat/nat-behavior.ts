/** How NATs behave, in the words of RFC 4787, and under the names that people know them by. */

import { NetkitError } from '@netkit/core'
import { milliseconds } from '../duration.ts'
import type { Duration } from '../duration.ts'

/** What a mapping or a filter depends on (RFC 4787 4.1 and 5). */
export type Dependence = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent'

/** A kind of NAT. */
export type NatPreset = 'full-cone' | 'restricted' | 'port-restricted' | 'symmetric' | 'cgnat'

/** What can be chosen beside the preset. */
export interface NatSettings {
  /** Default `port-restricted`, what homes have. */
  preset?: NatPreset
  mapping?: Dependence
  filtering?: Dependence
  /** Whether inside hosts reach each other by the public address (RFC 4787 6). Default `true`. */
  hairpin?: boolean
  /** Whether the public port is the inside one where that is free. Default `true`; `false` for `symmetric` and `cgnat`. */
  preservesPorts?: boolean
  /** Mappings that one inside host may have. Default 65,536; 256 for `cgnat`. */
  portsPerHost?: number
  /** Life of a mapping that is not used. Defaults: UDP 5 minutes (2 for `cgnat`), TCP 2 h 4 min; 4 min before TCP is open and after it closed. */
  udpTimeout?: Duration
  tcpTimeout?: Duration
  tcpTransitoryTimeout?: Duration
  /** What meets TCP segments of a mapping that ran out: silence (the default), or RST. */
  expired?: 'silence' | 'reset'
}

/** `NatSettings`, complete. */
export interface NatBehavior {
  readonly mapping: Dependence
  readonly filtering: Dependence
  readonly hairpin: boolean
  readonly preservesPorts: boolean
  readonly portsPerHost: number
  readonly udpTimeoutMs: number
  readonly tcpTimeoutMs: number
  readonly tcpTransitoryTimeoutMs: number
  readonly expired: 'silence' | 'reset'
}

const CONE = { mapping: 'endpoint-independent', preservesPorts: true } as const
const LARGE = { preservesPorts: false, filtering: 'address-and-port-dependent' } as const

const PRESETS: Readonly<Record<NatPreset, NatSettings>> = {
  'full-cone': { ...CONE, filtering: 'endpoint-independent' },
  restricted: { ...CONE, filtering: 'address-dependent' },
  'port-restricted': { ...CONE, filtering: 'address-and-port-dependent' },
  symmetric: { ...LARGE, mapping: 'address-and-port-dependent' },
  // RFC 6888: mappings are endpoint-independent, and a subscriber has a share of the ports.
  cgnat: { ...LARGE, mapping: 'endpoint-independent', portsPerHost: 256, udpTimeout: '2m' },
}

/** The behaviour that the settings ask for. @throws NetkitError `NETKIT_TESTNET_NAT` for a preset that does not exist. */
export function behaviorOf(settings: NatSettings): NatBehavior {
  const { preset = 'port-restricted' } = settings
  const known = (PRESETS as Partial<Record<string, NatSettings>>)[preset]
  if (known === undefined) {
    throw new NetkitError(
      'NETKIT_TESTNET_NAT',
      `preset: '${preset}' is no kind of NAT. Choose one of ${Object.keys(PRESETS).join(', ')}.`,
    )
  }
  const { mapping, filtering, hairpin, preservesPorts, portsPerHost, ...rest } = {
    ...known,
    ...settings,
  }
  return {
    mapping: mapping ?? 'endpoint-independent',
    filtering: filtering ?? 'address-and-port-dependent',
    hairpin: hairpin ?? true,
    preservesPorts: preservesPorts ?? true,
    portsPerHost: portsPerHost ?? 65_536,
    // RFC 4787 REQ-5, RFC 5382 REQ-5.
    udpTimeoutMs: milliseconds(rest.udpTimeout ?? '5m'),
    tcpTimeoutMs: milliseconds(rest.tcpTimeout ?? '124m'),
    tcpTransitoryTimeoutMs: milliseconds(rest.tcpTransitoryTimeout ?? '4m'),
    expired: rest.expired ?? 'silence',
  }
}
