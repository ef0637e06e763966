/**
 * What every guest is: something that speaks Ethernet frames to a network stack, and that can be asked to use its network.
 *
 * ```
 *   test or tour ── tools.ping(…) ──▶ guest ──▶ its own TCP/IP ──▶ frames ──▶ GuestLink ──▶ the stack under test
 *                ── exec(script) ──▶ (Linux guests only)
 * ```
 *
 * The stack under test never sees more of a guest than its link; a test never sees more of a guest than this file.
 */

import type { MessagePort } from 'node:worker_threads'
import type { Duplex } from 'node:stream'
import type { FrameLink } from '@netkit/frames'
import { NetkitError } from '@netkit/core'

/** The kinds of guests, best first. `netns` needs root and serves the lab; the others serve the demo too. */
export type GuestKind = 'qemu' | 'v86' | 'scripted' | 'netns'

/** How a guest's frames come out of it. */
export type GuestLink =
  /** Frames behind a 32-bit big-endian length: QEMU's `-netdev stream` over an inherited descriptor. */
  | { readonly kind: 'stream'; readonly stream: Duplex }
  /** One message, one frame (`Uint8Array`), both ways. */
  | { readonly kind: 'port'; readonly port: MessagePort }
  /** A link of its own: a TAP device. */
  | { readonly kind: 'frames'; readonly link: FrameLink }
  /** The guest dials this unix socket, in QEMU's wire format; the stack listens there. */
  | { readonly kind: 'dials'; readonly path: string }
  /** QEMU listens on this unix socket; the stack dials, and again after a loss. */
  | { readonly kind: 'listens'; readonly path: string }

/** What a command did. */
export interface ExecResult {
  /** Exit status; 128 + signal when a signal ended it. */
  readonly code: number
  /** Standard output and standard error, in the order written. */
  readonly stdout: string
}

/** Options of `exec`. */
export interface ExecOptions {
  /** Default 60 s. A command that takes longer rejects with `NETKIT_GUEST_TIMEOUT`. */
  timeoutMs?: number
}

/** A guest with a Linux kernel in it. */
export interface LinuxGuest extends AsyncDisposable {
  readonly kind: GuestKind
  /** For people: which kernel, run by what. */
  readonly description: string
  readonly link: GuestLink
  /**
   * Runs a bash script in the guest. Rejects with `NETKIT_GUEST_TIMEOUT` or `NETKIT_GUEST_GONE`; an exit status other than 0
   * is a result, not a rejection.
   */
  exec(script: string, options?: ExecOptions): Promise<ExecResult>
  /** Ends the guest and removes what it left. Idempotent. */
  close(): Promise<void>
}

/** Called before each step that takes longer than a blink. */
export type Progress = (message: string) => void

/** A guest of this kind cannot run here: what is missing, and how to get it. */
export function guestUnavailable(kind: GuestKind, reason: string, cause?: unknown): NetkitError {
  return new NetkitError(
    'NETKIT_GUEST_UNAVAILABLE',
    `A ${kind} guest cannot run here: ${reason}`,
    cause === undefined ? undefined : { cause },
  )
}

/** The guest ended, or was reset, before it answered. */
export function guestGone(what: string, detail = ''): NetkitError {
  return new NetkitError(
    'NETKIT_GUEST_GONE',
    `${what} while the guest went away.${detail === '' ? '' : `\n${detail}`}`,
  )
}

/** The guest did not answer in time. */
export function guestTimeout(what: string, ms: number, detail = ''): NetkitError {
  return new NetkitError(
    'NETKIT_GUEST_TIMEOUT',
    `${what} took longer than ${ms / 1000} s.${detail === '' ? '' : `\n${detail}`}`,
  )
}
