import { guestContract } from './guest-contract.ts'

guestContract({ kind: 'netns' })
// Few guests have so large an MTU, and a kernel is the only one that shows what it does to segments.
guestContract({ kind: 'netns', mtu: 65_520 })
