/** Which guest an address is. */

import type { Gateway } from '@netkit/tcpip'

/** The name of the guest that has the address. */
export function guestAt(gateway: Gateway, ip: string): string | undefined {
  for (const guest of gateway.guests.values()) {
    if (guest.addresses().includes(ip)) return guest.name
  }
  return undefined
}
