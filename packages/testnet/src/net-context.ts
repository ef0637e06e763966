import type { Clock, Random } from '@netkit/core'
import type { FrameLink } from '@netkit/frames'
import type { FabricPort } from './fabric.ts'

/** What hosts need from their net. */
export interface NetContext {
  readonly clock: Clock
  readonly random: Random
  readonly prefixLength: number
  readonly dnsAddress: string
  /** Resolves when the net's services answer. */
  readonly ready: Promise<void>
  readonly isClosed: boolean
  /** Plugs the far end of a host's cable in. */
  plug(
    host: { readonly name: string; readonly ip: string; readonly mac: string },
    link: FrameLink,
  ): FabricPort
}
