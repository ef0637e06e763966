export * from '@netkit/core/http'
