/** Addresses and ports of the lab for published ports, all in namespaces of its own, and what it reports. */

import type { PortHolder } from '@netkit/core'

/** The host on its LAN. */
export const HOST = { v4: '198.18.20.1', v6: '2001:db8:20::1' } as const
/** Another machine on the LAN. */
export const CLIENT = { v4: '198.18.20.2', v6: '2001:db8:20::2' } as const
/** An address that the host gets while ports are published. */
export const LATE = '198.18.20.9'
/** netkit runs as this user, who may not bind ports below 1024. */
export const USER = 65_534

/** What is published at the start, as `--publish` has it. */
export const PUBLISHED = [
  '8080:80',
  `${HOST.v4}:8081:80`,
  '0.0.0.0:80:80',
  '[::]:80:80',
  '0.0.0.0:53:53/udp',
  '[::]:53:53/udp',
  // Nobody listens there in the guest.
  '0.0.0.0:8085:81',
] as const

/** What one request over HTTP or UDP came back with. */
export interface Answer {
  /** Whose address the guest's kernel saw, and from which port. */
  readonly ip: string
  readonly port: number
}

/** A bound socket, as `protocol ip:port`. */
export type BoundSocket = string

/** What the lab found. */
export interface PortsReport {
  /** Effective user and capabilities of the netkit process. */
  readonly netkit: { readonly uid: string; readonly capabilities: string }
  readonly guest: { readonly v4: string; readonly v6: string; readonly gateway: string }
  /** By what was asked: who the guest saw. */
  readonly http: Readonly<Record<string, Answer>>
  readonly udp: Readonly<Record<string, Answer>>
  /** What the client's own end was. */
  readonly localPorts: Readonly<Record<string, number>>
  readonly sockets: {
    readonly kernel: readonly BoundSocket[]
    readonly listed: readonly BoundSocket[]
  }
  /** curl's exit status where nobody listens in the guest. */
  readonly refused: number
  readonly conflict: { readonly status: number; readonly message: string }
  /** Who listens on port 80 in the guest. */
  readonly guestHolder: PortHolder | undefined
  readonly gvproxy: {
    readonly exposed: string
    readonly all: string
    readonly answer: Answer
    readonly unexposed: string
    /** curl's exit status afterwards. */
    readonly after: number
  }
  /** The late address answered over UDP, from itself. */
  readonly late: Answer
  /** The helper's process after all this: still there, with this many descriptors. */
  readonly helper: { readonly descriptors: number; readonly descriptorsBefore: number }
  /** Bound sockets of netkit after it was told to end. */
  readonly left: readonly BoundSocket[]
  readonly exitCode: number
}
