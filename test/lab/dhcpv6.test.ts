/** Stateless DHCPv6 by a client that is in use: ISC's dhclient asks for configuration alone, as a router advertisement told it to. */

import { attachLinux, findProgram, netnsGuest } from '@netkit/guests'
import { describe, expect, inject, test } from 'vitest'
import { labNetwork, SEARCH_DOMAIN } from './lab-network.ts'
import { unless } from './skip-reason.ts'

const missing =
  inject('missingGuests').netns ??
  ((await findProgram('dhclient')) === undefined
    ? 'dhclient is not installed. To get it: apt-get install isc-dhcp-client'
    : undefined)

describe('stateless DHCPv6', unless(missing), () => {
  test('dhclient -6 -S gets the resolver and the search list', async () => {
    await using network = await labNetwork({ ipv6: 'on' })
    const guest = await netnsGuest()
    await using started = await attachLinux(guest, { attach: (link) => network.attach(link) })
    await started.tools.lease()
    await started.tools.slaac?.()
    const { stdout } = await guest.exec(`
      cd $NETKIT_GUEST_FOLDER
      printf '#!/bin/sh\\nenv | grep ^new_dhcp6 >>%s/told\\n' "$PWD" >script
      chmod 755 script
      dhclient -6 -S -1 -d -sf "$PWD/script" -lf "$PWD/leases" -pf "$PWD/pid" eth0 >log 2>&1 &
      until grep -s new_dhcp6_name_servers told; do kill -0 $! || break; usleep 50000; done
      kill $!
      cat told || cat log`)
    expect(stdout).toContain(`new_dhcp6_name_servers=${network.composition.gateway.address6}`)
    expect(stdout).toContain(`new_dhcp6_domain_search=${SEARCH_DOMAIN}.`)
  })
})
