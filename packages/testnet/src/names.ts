/** The net's names: a DNS server on a host of its own, and the faults it can be given. */

import { NetkitError } from '@netkit/core'
import type { Clock, Network } from '@netkit/core'
import { createDnsServer, layer, makeReply, RCODE, zones } from '@netkit/dns'
import type { Answer, DnsServer, Layer, NameData, Zones } from '@netkit/dns'
import { milliseconds } from './duration.ts'
import type { Duration } from './duration.ts'

type Fault = { readonly rcode: number } | { readonly delayMs: number } | 'silence'

/** The names of a net. Its server answers over UDP and TCP, like any other. */
export class Names {
  readonly #zones: Zones = zones({ authoritative: ['.'] })
  readonly #faults = new Map<string, Fault>()
  readonly #clock: Clock
  readonly #server: DnsServer

  constructor(clock: Clock) {
    this.#clock = clock
    this.#server = createDnsServer({
      upstream: zones({ authoritative: ['.'] }),
      layers: [this.#faulty()],
      names: [this.#zones],
      cache: false,
      clock,
    })
  }

  /** Sets all records of a name; what it had is replaced. `*.apps.test` is a wildcard. */
  set(name: string, data: NameData): void {
    this.#zones.set(name, data)
  }

  /** Removes a name; says whether it was there. */
  delete(name: string): boolean {
    return this.#zones.delete(name)
  }

  /** The server fails for this name, until the result is disposed of. */
  servfail(name: string): Disposable {
    return this.#fault(name, { rcode: RCODE.SERVFAIL })
  }

  /** The name does not exist, until the result is disposed of. */
  nxdomain(name: string): Disposable {
    return this.#fault(name, { rcode: RCODE.NXDOMAIN })
  }

  /** Answers for this name come late, until the result is disposed of. */
  delay(name: string, by: Duration): Disposable {
    return this.#fault(name, { delayMs: milliseconds(by) })
  }

  /** Queries for this name are never answered, until the result is disposed of. */
  silence(name: string): Disposable {
    return this.#fault(name, 'silence')
  }

  /** For the net: answers at this address. */
  async serve(network: Network, ip: string): Promise<void> {
    await this.#server.listen(network, { ip, port: 53 })
  }

  close(): Promise<void> {
    return this.#server.close()
  }

  #fault(name: string, fault: Fault): Disposable {
    const key = name.toLowerCase().replace(/\.$/, '')
    if (key === '') {
      throw new NetkitError('NETKIT_TESTNET_NAME', 'A fault needs the name of a host: db.test.')
    }
    this.#faults.set(key, fault)
    return {
      [Symbol.dispose]: () => {
        if (this.#faults.get(key) === fault) this.#faults.delete(key)
      },
    }
  }

  #faulty(): Layer {
    return layer('faults', (query, next): Answer => {
      const fault = this.#faults.get(query.name.toString().toLowerCase().replace(/\.$/, ''))
      if (fault === undefined) return next(query)
      if (fault === 'silence') return new Promise(() => {})
      if ('rcode' in fault) return makeReply(query, { from: 'faults', rcode: fault.rcode })
      return new Promise((resolve) => {
        this.#clock.after(fault.delayMs, () => resolve(next(query)))
      })
    })
  }
}
