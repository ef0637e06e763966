import { guestContract } from './guest-contract.ts'

guestContract({ kind: 'qemu', families: ['ipv4', 'ipv6'] })
