/**
 * A Linux guest whose cable can be cut, and which can be rebooted, while the network it is attached to lives on.
 *
 * ```
 *   netns guest ── TAP ── switch ── unix socket, QEMU's framing ── reconnecting link ── network
 *    (rebooted: a new one)                 (cut here)
 * ```
 */

import { rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { ByteStream } from '@netkit/core'
import { hostNetwork } from '@netkit/core/node'
import { createSwitch, listeningLink, reconnectingLink } from '@netkit/frames'
import type { FrameLink, Switch, SwitchPort } from '@netkit/frames'
import { linuxTools, netnsGuest, type LinuxGuest } from '@netkit/guests'

/** What a kernel's last segments need, `ms`. */
const FAREWELL_MS = 200
/** A machine that is rebooted keeps its card. */
const MAC = '52:54:00:12:34:56'

/** See the head of this file. */
export class GuestOnCable {
  /** What the network attaches. */
  readonly link: FrameLink
  readonly #path: string
  readonly #far: FrameLink
  readonly #switch: Switch = createSwitch()
  #stream: ByteStream | undefined
  #isCut = false
  #guest: LinuxGuest | undefined
  #port: SwitchPort | undefined

  private constructor(path: string, far: FrameLink) {
    this.#path = path
    this.#far = far
    this.#switch.addPort(far)
    const host = hostNetwork()
    this.link = reconnectingLink({
      open: async (signal) => {
        if (this.#isCut) throw new Error('the cable is cut')
        this.#stream = await host.connect({ path }, { signal })
        return this.#stream
      },
    })
  }

  /** Lays the cable; `boot` makes the guest. */
  static async lay(path: string): Promise<GuestOnCable> {
    const far = await listeningLink({ acceptor: hostNetwork(), at: { path } })
    return new GuestOnCable(path, far)
  }

  /** Starts a guest, which has a lease when this resolves. `services` start its servers. */
  async boot(services: string): Promise<void> {
    const guest = await netnsGuest()
    if (guest.link.kind !== 'frames') throw new TypeError('a namespace has a link of its own')
    this.#guest = guest
    this.#port = this.#switch.addPort(guest.link.link)
    await guest.exec(`ip link set eth0 address ${MAC}`)
    await linuxTools(guest).lease()
    await this.run(services)
  }

  /** An orderly end: the guest's processes are killed, and its kernel says so to their peers. */
  async halt(): Promise<void> {
    // It kills itself as well: there is no result.
    await this.#guest?.exec('kill -9 -1').catch(() => undefined)
    await delay(FAREWELL_MS)
    this.#port?.remove()
    await this.#guest?.close()
    this.#guest = undefined
  }

  /** Runs a script. Rejects when it fails, and while there is no guest. */
  async run(script: string): Promise<string> {
    if (this.#guest === undefined) throw new Error('the guest is being rebooted')
    const { code, stdout } = await this.#guest.exec(`set -o pipefail\n${script}`)
    if (code !== 0) throw new Error(`status ${code}: ${script.trim()}: ${stdout.trim()}`)
    return stdout.trim()
  }

  /** The cable breaks in the middle of whatever it carries. */
  cut(): void {
    this.#isCut = true
    this.#stream?.reset()
  }

  /** And is mended; resolves when frames pass again. */
  async mend(): Promise<void> {
    this.#isCut = false
    while (this.link.state !== 'up') await delay(20)
  }

  async close(): Promise<void> {
    await this.halt()
    await this.link.close()
    await this.#far.close()
    await rm(this.#path, { force: true })
  }
}
