/**
 * vpnkit's Ethernet protocol, version 22 ("VMN3T"), both ends. After the handshake the stream carries frames with a 16-bit
 * little-endian length (`u16le`).
 *
 * ```
 *   client                                               server
 *   init:   "VMN3T" · u32 LE 22 · 40 bytes commit ──▶          49 bytes
 *                                                 ◀── init     49 bytes; of another version than ours: and then FIN
 *   command: u8 · 36 bytes UUID text · 4 bytes    ──▶          41 bytes; 1 = Ethernet by UUID, 8 = and a wish: u32 LE IPv4
 *                                                 ◀── reply    258 bytes; 1 = u16 LE MTU · u16 LE longest packet · MAC
 *                                                                         2 = refused: u8 length · text
 * ```
 *
 * The UUID is the guest's identity: the same UUID gets the same MAC and so, by DHCP, the same address, over reconnects and
 * restarts. The zero UUID is a client without one: the server invents it.
 * Source: vpnkit, src/hostnet/vmnet.ml and HyperKit, src/lib/pci_virtio_net_vpnkit.c.
 */

import { NetkitError } from '@netkit/core'
import type { ByteStream, Random } from '@netkit/core'
import { systemRandom } from '@netkit/core'
import { DEFAULT_MTU_BYTES } from '../limits.ts'
import { checkedMtu } from '../link/link-base.ts'
import { handshake, type HandshakeOptions } from './handshake.ts'
import { ETHERNET_HEADER_LENGTH } from '../wire/ethernet.ts'

const MAGIC = 'VMN3T'
const VERSION = 22
const INIT_BYTES = 49
const COMMIT_BYTES = 40
const COMMAND_BYTES = 41
const REPLY_BYTES = 258
const UUID_BYTES = 36
const UUID_TEXT = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

const COMMAND_ETHERNET = 1
const COMMAND_BIND = 6
const COMMAND_PREFERRED_IPV4 = 8
const REPLY_VIF = 1
const REPLY_DISCONNECT = 2

/** The UUID of a client that has none. */
export const ZERO_UUID = '00000000-0000-0000-0000-000000000000'

/** What a client asks for. */
export interface Vmn3tRequest {
  /** Lower case. Never the zero UUID: that one is replaced by an invented one. */
  readonly uuid: string
  /** The address that the guest would like, dotted decimal. */
  readonly preferredIp: string | undefined
}

/** What the server gives. */
export interface Vmn3tGrant {
  /** Six octets. Default: made of the UUID, the same each time. */
  readonly mac?: Uint8Array
}

/** What both ends know after the handshake. */
export interface Vmn3tSession {
  /** Carries frames from now on; use it with `u16le`. */
  readonly stream: ByteStream
  readonly uuid: string
  /** The guest's MAC address, six octets. */
  readonly mac: Uint8Array
  /** Largest IP packet, `bytes`. */
  readonly mtu: number
  /** Longest frame that the server takes, `bytes`. */
  readonly maxFrame: number
  /** The address that the guest would like, dotted decimal. */
  readonly preferredIp: string | undefined
  /** The commit that the other end was built from, as it says. */
  readonly peerCommit: string
}

/** Options of both ends. */
export interface Vmn3tOptions extends HandshakeOptions {
  /** Told to the peer; at most 40 characters. */
  commit?: string
}

/** Options of `serveVmn3t`. */
export interface Vmn3tServerOptions extends Vmn3tOptions {
  /** Default 1500. */
  mtu?: number
  /** Who is let in, and with which MAC. An error that it throws is told to the client as the reason of the refusal. */
  admit?: (request: Vmn3tRequest) => Vmn3tGrant | Promise<Vmn3tGrant>
  /** For invented UUIDs. */
  random?: Random
}

/** Options of `dialVmn3t`. */
export interface Vmn3tClientOptions extends Vmn3tOptions {
  /** The guest's identity; default the zero UUID. */
  uuid?: string
  /** The address that the guest would like, dotted decimal. */
  preferredIp?: string
}

/**
 * A locally administered MAC address made of a UUID: the same each time, on every host.
 *
 * @example
 * ```ts
 * import { macOfUuid } from '@netkit/frames'
 *
 * const uuid = '5c2a4a9e-54f5-4f2f-9e0e-3a1a3d3c7b11'
 * console.assert(macOfUuid(uuid).join() === macOfUuid(uuid).join())
 * console.assert(((macOfUuid(uuid)[0] ?? 0) & 3) === 2)
 * ```
 */
export function macOfUuid(uuid: string): Uint8Array {
  // FNV-1a, twice with different starts: 64 bits, of which 46 are used.
  const hash = (start: number): number => {
    let h = start >>> 0
    for (let i = 0; i < uuid.length; i++)
      h = Math.imul(h ^ (uuid.charCodeAt(i) | 0x20), 0x01000193) >>> 0
    return h
  }
  const [high, low] = [hash(0x811c9dc5), hash(0x050c5d1f)]
  const mac = new Uint8Array(6)
  const view = new DataView(mac.buffer)
  view.setUint16(0, high & 0xffff)
  view.setUint32(2, low)
  mac[0] = ((mac[0] ?? 0) & 0xfc) | 0x02
  return mac
}

/** The server's end: what vpnkit and gvproxy do for HyperKit. Resolves when frames may pass. */
export function serveVmn3t(
  stream: ByteStream,
  options: Vmn3tServerOptions = {},
): Promise<Vmn3tSession> {
  const mtu = checkedMtu(options.mtu ?? DEFAULT_MTU_BYTES)
  return handshake(stream, 'vpnkit (VMN3T)', options, async (peer) => {
    const { version, commit } = parseInit(await peer.next(INIT_BYTES))
    peer.send(buildInit(options.commit))
    if (version !== VERSION) throw wrongVersion(version)
    const command = await peer.next(COMMAND_BYTES)
    const code = command[0] ?? 0
    const refuse = (reason: string, cause?: unknown): NetkitError => {
      peer.send(buildRefusal(reason))
      return new NetkitError('NETKIT_VMN3T_REFUSED', `The client was refused: ${reason}.`, {
        cause,
      })
    }
    if (code !== COMMAND_ETHERNET && code !== COMMAND_PREFERRED_IPV4) {
      throw refuse(
        code === COMMAND_BIND
          ? 'binding ports over this connection is no longer supported'
          : `command ${code} is unknown`,
      )
    }
    const asked = text(command.subarray(1, 1 + UUID_BYTES)).toLowerCase()
    if (!UUID_TEXT.test(asked)) {
      throw refuse('the identity is not a UUID of 36 characters')
    }
    const uuid = asked === ZERO_UUID ? inventUuid(options.random ?? systemRandom) : asked
    const preferredIp =
      code === COMMAND_PREFERRED_IPV4 ? ipOf(command.subarray(1 + UUID_BYTES)) : undefined
    let mac: Uint8Array
    try {
      mac = (await options.admit?.({ uuid, preferredIp }))?.mac ?? macOfUuid(uuid)
    } catch (error) {
      throw refuse(error instanceof Error ? error.message : String(error), error)
    }
    const maxFrame = mtu + ETHERNET_HEADER_LENGTH
    const reply = new Uint8Array(REPLY_BYTES)
    const view = new DataView(reply.buffer)
    view.setUint8(0, REPLY_VIF)
    view.setUint16(1, mtu, true)
    view.setUint16(3, maxFrame, true)
    reply.set(mac.subarray(0, 6), 5)
    peer.send(reply)
    return { stream, uuid, mac, mtu, maxFrame, preferredIp, peerCommit: commit }
  })
}

/** The client's end: what HyperKit and vpnkit's tap-vsockd do. Resolves when frames may pass. */
export async function dialVmn3t(
  stream: ByteStream,
  options: Vmn3tClientOptions = {},
): Promise<Vmn3tSession> {
  const uuid = (options.uuid ?? ZERO_UUID).toLowerCase()
  if (!UUID_TEXT.test(uuid)) {
    throw new NetkitError(
      'NETKIT_VMN3T_UUID',
      `"${uuid}" is not a UUID: give 36 characters, 8-4-4-4-12.`,
    )
  }
  const wish =
    options.preferredIp === undefined ? undefined : octetsOf(options.preferredIp).toReversed()
  return handshake(stream, 'vpnkit (VMN3T)', options, async (peer) => {
    peer.send(buildInit(options.commit))
    const { version, commit } = parseInit(await peer.next(INIT_BYTES))
    if (version !== VERSION) throw wrongVersion(version)
    const command = new Uint8Array(COMMAND_BYTES)
    command[0] = wish === undefined ? COMMAND_ETHERNET : COMMAND_PREFERRED_IPV4
    command.set(new TextEncoder().encode(uuid).subarray(0, UUID_BYTES), 1)
    if (wish !== undefined) command.set(wish, 1 + UUID_BYTES)
    peer.send(command)
    const reply = (await peer.next(REPLY_BYTES)).slice()
    const view = new DataView(reply.buffer)
    if (reply[0] === REPLY_DISCONNECT) {
      throw new NetkitError(
        'NETKIT_VMN3T_REFUSED',
        `The server refused the connection: ${text(reply.subarray(2, 2 + (reply[1] ?? 0)))}`,
      )
    }
    if (reply[0] !== REPLY_VIF) {
      throw new NetkitError(
        'NETKIT_VMN3T_MALFORMED',
        `The server sent a reply of type ${reply[0]}; only 1 (interface) and 2 (refused) exist.`,
      )
    }
    return {
      stream,
      uuid,
      mac: reply.slice(5, 11),
      mtu: view.getUint16(1, true),
      maxFrame: view.getUint16(3, true),
      preferredIp: options.preferredIp,
      peerCommit: commit,
    }
  })
}

function buildInit(commit = 'netkit'): Uint8Array {
  const bytes = new Uint8Array(INIT_BYTES)
  bytes.set(new TextEncoder().encode(MAGIC))
  new DataView(bytes.buffer).setUint32(MAGIC.length, VERSION, true)
  bytes.set(new TextEncoder().encode(commit).subarray(0, COMMIT_BYTES), INIT_BYTES - COMMIT_BYTES)
  return bytes
}

function parseInit(bytes: Uint8Array): { version: number; commit: string } {
  if (text(bytes.subarray(0, MAGIC.length)) !== MAGIC) {
    throw new NetkitError(
      'NETKIT_VMN3T_MAGIC',
      `The peer does not speak vpnkit's protocol: its first bytes are not "${MAGIC}". A peer of QEMU's kind needs the framing u32be.`,
    )
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    version: view.getUint32(MAGIC.length, true),
    commit: text(bytes.subarray(INIT_BYTES - COMMIT_BYTES)).replace(/\0+$/, ''),
  }
}

function wrongVersion(version: number): NetkitError {
  return new NetkitError(
    'NETKIT_VMN3T_VERSION',
    `The peer speaks version ${version} of vpnkit's protocol; netkit speaks ${VERSION}.`,
  )
}

function buildRefusal(reason: string): Uint8Array {
  const bytes = new Uint8Array(REPLY_BYTES)
  const message = new TextEncoder().encode(reason).subarray(0, 255)
  bytes[0] = REPLY_DISCONNECT
  bytes[1] = message.length
  bytes.set(message, 2)
  return bytes
}

function text(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes)
}

function ipOf(bytes: Uint8Array): string | undefined {
  const octets = [...bytes.subarray(0, 4)].toReversed()
  return octets.every((octet) => octet === 0) ? undefined : octets.join('.')
}

function octetsOf(ip: string): number[] {
  const octets = ip.split('.').map(Number)
  if (octets.length !== 4 || octets.some((o) => !Number.isInteger(o) || o < 0 || o > 255)) {
    throw new NetkitError(
      'NETKIT_VMN3T_ADDRESS',
      `"${ip}" is not an IPv4 address: give four numbers from 0 to 255.`,
    )
  }
  return octets
}

function inventUuid(random: Random): string {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < 16; i += 4) view.setUint32(i, random.u32())
  // RFC 9562, 5.4: version 4, variant 10.
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
