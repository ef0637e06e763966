import { expect, test } from 'vitest'
import { qemuArguments, shellLine } from './qemu-arguments.ts'

test('QEMU connects, with the MTU of the link', () => {
  expect(qemuArguments({ path: '/tmp/n.sock', qemuListens: false, mtu: 65_520 })).toEqual([
    '-netdev',
    'stream,id=net0,server=off,addr.type=unix,addr.path=/tmp/n.sock',
    '-device',
    'virtio-net-pci,netdev=net0,host_mtu=65520',
  ])
})

test('QEMU listens; an MTU of 1500 needs no word; a comma in the path is doubled', () => {
  const [, netdev, , device] = qemuArguments({ path: '/tmp/a,b', qemuListens: true, mtu: 1500 })
  expect(netdev).toBe('stream,id=net0,server=on,addr.type=unix,addr.path=/tmp/a,,b')
  expect(device).toBe('virtio-net-pci,netdev=net0')
})

test('a shell reads back what was written', () => {
  expect(shellLine(['-netdev', "a b'c", 'x=1,y'])).toBe(`-netdev 'a b'\\''c' x=1,y`)
})
