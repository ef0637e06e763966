import { guestContract } from './guest-contract.ts'

guestContract({ kind: 'qemu' })
