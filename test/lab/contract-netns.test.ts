import { guestContract } from './guest-contract.ts'

guestContract({ kind: 'netns', families: ['ipv4', 'ipv6'] })
// Few guests have so large an MTU, and a kernel is the only one that shows what it does to segments.
guestContract({ kind: 'netns', families: ['ipv4', 'ipv6'], mtu: 65_520 })
