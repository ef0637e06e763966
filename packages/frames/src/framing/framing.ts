/** How a byte stream is cut into frames: a length, then the frame. */

/** A length prefix. */
export interface Framing {
  /** As people name it. */
  readonly name: string
  /** `bytes` of the prefix. */
  readonly prefix: 2 | 4
  readonly littleEndian: boolean
}

/** 32 bits, big endian: QEMU `-netdev stream` and `socket`, passt, socket_vmnet, libkrun. */
export const u32be: Framing = { name: 'u32be', prefix: 4, littleEndian: false }

/** 16 bits, little endian: HyperKit, gvproxy's stdio and `/connect`, vpnkit after its handshake. */
export const u16le: Framing = { name: 'u16le', prefix: 2, littleEndian: true }
