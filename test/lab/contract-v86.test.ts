import { guestContract } from './guest-contract.ts'

guestContract({ kind: 'v86', families: ['ipv4', 'ipv6'] })
