import { networkInterfaces } from 'node:os'

/**
 * The addresses of the host's interfaces with their prefixes, `192.168.1.20/24`: what a subnet for guests must not overlap.
 * Loopback is left out.
 */
export function hostPrefixes(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .flatMap(({ internal, cidr }) => (internal || cidr === null ? [] : [cidr]))
}
