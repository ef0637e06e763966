/** A machine on the host's LAN: asks by UDP what each line on its standard input says (`{"ip", "port", "text"}`). Ends with it. */

import { createInterface } from 'node:readline'
import { askDatagram } from '@netkit/guests'

process.stdout.write('ready\n')
for await (const line of createInterface({ input: process.stdin })) {
  const { ip, port, text } = JSON.parse(line) as { ip: string; port: number; text: string }
  process.stdout.write(`${JSON.stringify(await askDatagram(ip, port, text))}\n`)
}
process.exit(0)
