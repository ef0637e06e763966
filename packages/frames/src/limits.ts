/** Every bound and default of this package, with its unit and the reason for it. */

import { ETHERNET_HEADER_LENGTH, VLAN_TAG_LENGTH } from './wire/ethernet.ts'

/** What a guest expects of an Ethernet card when nobody says otherwise. */
export const DEFAULT_MTU_BYTES = 1500
/** IPv4 needs 68 (RFC 791, 3.2); below it nothing that netkit speaks would fit. */
export const MIN_MTU_BYTES = 68
/** The largest MTU that virtio, passt and QEMU agree on: 65535 less 14 of Ethernet, rounded down to 16. */
export const MAX_MTU_BYTES = 65_520

/**
 * The longest frame a length prefix may announce. More is not a large frame but a broken or hostile peer: the position of
 * the next frame is unknown, so the connection is closed. QEMU draws the same line at 69632.
 */
export const MAX_FRAME_BYTES: number = MAX_MTU_BYTES + ETHERNET_HEADER_LENGTH + VLAN_TAG_LENGTH

/** One read takes at most this much: from 256 KiB on, larger blocks no longer lower the CPU time per byte. */
export const READ_BLOCK_BYTES: number = 256 * 1024
/** A read is offered at least this much room, or the partial frame moves to the front: small reads cost a system call each. */
export const MIN_READ_BYTES: number = 64 * 1024
/**
 * Read blocks of one link. The sink pins a block while its payload waits for a host socket; when all are pinned, reading
 * stops. 16 (4 MiB) is more than a TCP window of 1 MiB scattered over chunks that other flows share.
 */
export const READ_BLOCKS = 16
/** Idle read blocks that a link keeps: one to read into, one that just came back. */
export const IDLE_READ_BLOCKS = 2

/** A slab of outgoing frames: about 43 of 1514 bytes, one write per batch. */
export const SLAB_BYTES: number = 64 * 1024
/** Outgoing bytes a link holds before `begin` has no more room: a bandwidth-delay product of 8 Gbit/s at 1 ms. */
export const LINK_QUEUE_BYTES: number = 1024 * 1024
/** Deliveries of a memory link between two turns of the event loop: about 64 KiB each, so I/O waits for some ms at most. */
export const MEMORY_BATCHES_PER_YIELD = 64

/** First pause between two attempts to reconnect: a VM that was restarted is back within this order of time. */
export const RECONNECT_FIRST_DELAY_MS = 100
/** Pauses double up to this: long enough to cost nothing, short enough that nobody waits for the network. */
export const RECONNECT_MAX_DELAY_MS = 5000
/** A connection that lived shorter counts as a failed attempt: a peer that accepts and hangs up is not polled at full speed. */
export const RECONNECT_STABLE_MS = 1000
/** A peer that has connected says who it is within this time (vpnkit's handshake, `CONNECT`), or the connection is closed. */
export const HANDSHAKE_TIMEOUT_MS = 10_000
/** A peer that was refused is given this time to read why before its connection is reset. */
export const FAREWELL_MS = 1000
/** Longest answer line of a hybrid vsock; Firecracker and Cloud Hypervisor send `OK` and a port of at most 10 digits. */
export const HYBRID_VSOCK_LINE_BYTES = 64

/** Media that do not say when they have room again (UDP, WebSocket) are asked this often while frames wait. */
export const MEDIUM_POLL_MS = 1
/** Read memory of a datagram link: 16 blocks, as for streams; a frame for which no block is free is dropped, as a NIC does. */
export const DATAGRAM_READ_BLOCK_BYTES: number = 128 * 1024

/**
 * Address space that the checksum arena reserves. Only pages that were written cost memory. 256 MiB are the read blocks and
 * slabs of more than a hundred busy links.
 */
export const ARENA_BYTES: number = 256 * 1024 * 1024
/** Below this much a reserve is not worth having: one link's read blocks would use it up. */
export const ARENA_MIN_BYTES: number = 4 * 1024 * 1024
/** Room for foreign bytes on their way through Wasm: one packet of any size. */
export const ARENA_SCRATCH_BYTES: number = 64 * 1024

/** Search domains that are read from one option: glibc takes any number since 2.26, and older ones 6. */
export const MAX_SEARCH_DOMAINS = 64
/** Option bytes of one DHCP message that are read: a message longer than the largest MTU of old cards is nobody's. */
export const MAX_DHCP_OPTION_BYTES = 4096
/** A DHCP message that every client takes: 576 bytes less IP and UDP headers (RFC 2131 2). */
export const DEFAULT_DHCP_MESSAGE_BYTES = 548
/** A switch forgets a station that was silent for this long: the default of Linux bridges and IEEE 802.1D (7.9.2). */
export const SWITCH_AGE_MS = 300_000
/** Stations that are learned behind one port: a nested bridge of containers, but no flood of invented addresses. */
export const SWITCH_STATIONS_PER_PORT = 256

/** Frames that an impaired link holds back in each direction: 1 Gbit/s for 32 ms. */
export const IMPAIR_QUEUE_BYTES: number = 4 * 1024 * 1024
/** Queue of a rate-limited direction before frames are dropped at its tail: 20 ms at 100 Mbit/s, as in a home router. */
export const IMPAIR_RATE_QUEUE_BYTES: number = 256 * 1024
/** How far a reordered frame falls behind, unless said otherwise. */
export const IMPAIR_REORDER_MS = 10

/** Captured bytes are handed to their file in pieces of this size. */
export const PCAP_CHUNK_BYTES: number = 64 * 1024
/** A capture is on disk after this time at the latest, so that it can be watched while it grows. */
export const PCAP_FLUSH_MS = 500
/** Memory of a capture ring: some ten thousand frames of headers, or about 2,700 full ones. */
export const PCAP_RING_BYTES: number = 4 * 1024 * 1024
/** Comments of a packet beyond this are cut; Wireshark shows them in one line. */
export const PCAP_COMMENT_BYTES = 1024

/** IPv6 extension headers of one packet. Each kind but destination options may occur once (RFC 8200 4.1), so 8 is generous. */
export const MAX_IPV6_EXTENSION_HEADERS = 8
/** Options in one extension header, padding aside: as many as Linux takes (`max_hbh_opts_number`). */
export const MAX_IPV6_OPTIONS = 8
/** Options of one neighbour discovery message that are read. */
export const MAX_NDP_OPTIONS = 32
/** Frames read from a descriptor before the event loop turns: 256 of them are at most 0.4 ms at 1500 bytes. */
export const DESCRIPTOR_READS_PER_TURN = 256
/** A waiting poll(2) returns at least this often, so that a process that exits does not wait for it. */
export const DESCRIPTOR_POLL_MS = 1000
/** Pause before a descriptor is tried again that gave ENOBUFS, or whose frames find no memory: neither can be polled for. */
export const DESCRIPTOR_RETRY_MS = 1
/** Pause before a datagram socket is connected again whose peer is not there. */
export const DGRAM_CONNECT_RETRY_MS = 100
/** Send and receive buffers of a datagram socket, as gvproxy sets them: macOS has ENOBUFS all the time with less. */
export const DGRAM_SEND_BUFFER_BYTES: number = 1024 * 1024
/** See `DGRAM_SEND_BUFFER_BYTES`. */
export const DGRAM_RECEIVE_BUFFER_BYTES: number = 4 * 1024 * 1024

/**
 * Frames that the kernel holds for a TAP until this process reads them. Its own 500 are fewer than one guest sends in the
 * milliseconds for which a busy process is not scheduled. What is above is dropped: data come again, a RST never does.
 */
export const TAP_QUEUE_FRAMES = 10_000
/** Options of a DHCPv6 message: a client sends a dozen. */
export const MAX_DHCPV6_OPTIONS = 64
