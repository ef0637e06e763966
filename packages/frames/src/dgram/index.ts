/**
 * Unix datagram sockets as links: vfkit, krunkit, QEMU's dgram. Needs the package koffi beside this one.
 *
 * @packageDocumentation
 */
export {
  openUnixDatagram,
  type UnixDatagramLink,
  type UnixDatagramOptions,
} from './unix-datagram-link.ts'
