/**
 * A launcher of one's own: a VM with the host's network, in fifty lines.
 *
 *   node launcher.ts KERNEL INITRAMFS
 */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { egressPresets, egressRules, formatEndpoint } from '@netkit/core'
import { socketStream } from '@netkit/core/node'
import { streamLink } from '@netkit/frames'
import { createGuestNetwork } from '@netkit/guestnet'

const [kernel = '', initramfs = ''] = process.argv.slice(2)

// The network: the host's names, routes, VPN and proxy settings; the host itself as host.docker.internal; no cloud credentials.
await using network = await createGuestNetwork({
  hostAlias: true,
  policy: egressRules(egressPresets.noMetadata),
  onEvent(event) {
    if (event.kind === 'lease')
      console.log(`${event.event}: ${event.lease.mac} has ${event.lease.ip}`)
  },
})

// The VM: its cable is the fourth of its standard descriptors, so there is no socket file and nothing to clean up.
const options = [
  ['-nodefaults', '-display', 'none', '-m', '256', '-kernel', kernel, '-initrd', initramfs],
  ['-append', 'console=ttyS0 quiet loglevel=3', '-serial', 'stdio'],
  ['-netdev', 'stream,id=net0,server=off,addr.type=fd,addr.str=3'],
  ['-device', 'virtio-net-pci,netdev=net0,host_mtu=65520,romfile='],
]
const vm = spawn('qemu-system-x86_64', options.flat(), {
  stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
})
const cable = vm.stdio[3]
assert(cable instanceof Socket)
const guest = network.attach(streamLink(socketStream(cable), { mtu: 65_520 }), { name: 'vm' })

// Ready means that it has its lease. What it serves can be fetched directly, and published on the host.
const { ip } = await guest.ready
const lease = await network.publish('127.0.0.1:0:80', { guest: 'vm' })
const [port] = lease.ports
console.log(`the VM is ${ip}; its port 80 is ${formatEndpoint(port ?? assert.fail('no port'))}`)
for await (const line of createInterface({ input: vm.stdout ?? assert.fail('no console') }))
  if (line.includes('guest: serving')) break
const page = await (await guest.fetch('http://vm/')).text()
assert.equal(page, 'hello from the guest\n')
assert.equal(await (await fetch(`http://127.0.0.1:${port?.port}/`)).text(), page)
console.log(page.trim())

// Why would something be refused? Nothing is opened to find out.
const { flows } = await network.explain('169.254.169.254:80')
console.log(`169.254.169.254: ${flows[0]?.verdict.rule}, ${flows[0]?.verdict.reason}`)
vm.kill()
await once(vm, 'exit')
