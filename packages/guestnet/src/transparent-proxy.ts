/**
 * Ports of the web, followed as the host itself would go there: through its proxy when it has one, by name.
 *
 * ```
 *   SYN to :80, :443 ─▶ proxy.routeTransparent ─┬─ dial    as every other flow
 *                                               ├─ open    the tunnel stands before the guest's SYN-ACK
 *                                               ├─ accept  the proxy looks for the name: TLS hello, Host
 *                                               └─ deny    reset
 *   UDP :443 ─▶ refused when TCP would not simply be dialled: HTTP/3 has no proxy, and clients fall back
 *   HTTPS, SVCB ─▶ without h3, ECH and address hints then: they would lead around it
 * ```
 */

import { Cidr, isChosenByGuest, isIpEndpoint } from '@netkit/core'
import type { ByteStream, Dialer, EgressPolicy, FlowRequest, Verdict } from '@netkit/core'
import { layer, RR_TYPE, svcb } from '@netkit/dns'
import type { DnsQuery, Layer, Next, Reply } from '@netkit/dns'
import type { ProxyServer, TransparentClient } from '@netkit/proxy'
import type { GuestProxyOptions } from './guest-proxy.ts'
import type { Gateway, NewFlow, Router, RouteVerdict } from '@netkit/tcpip'

/** Ports whose connections are looked at, unless others are given. */
const TRANSPARENT_PORTS: readonly number[] = [80, 443]

/** The transparent side that the options ask for. */
export function transparentProxy(
  options: GuestProxyOptions | false | undefined,
): TransparentProxy | undefined {
  const ports = options === false ? false : (options?.transparent ?? TRANSPARENT_PORTS)
  return ports === false ? undefined : new TransparentProxy(ports)
}

/** The transparent side of the proxy. It begins with `start`; until then everything is dialled. */
export class TransparentProxy {
  readonly #ports: ReadonlySet<number>
  #running:
    { readonly gateway: Gateway; readonly proxy: ProxyServer; readonly inside: Cidr } | undefined

  constructor(ports: readonly number[]) {
    this.#ports = new Set(ports)
  }

  start(gateway: Gateway, proxy: ProxyServer): void {
    this.#running = { gateway, proxy, inside: Cidr.parse(gateway.subnet) }
  }

  /** For the gateway. */
  readonly route: Router = (flow) => {
    const { ip, port } = flow.destination
    return this.#isWeb(ip, port) ? this.#decide(flow) : DIAL
  }

  /** The policy, with UDP 443 refused where TCP would go through the proxy. */
  guard(policy: EgressPolicy): EgressPolicy {
    return {
      decide: (flow) => this.#refuseQuic(flow, policy),
      get byName() {
        return policy.byName ?? false
      },
      ...(policy.onChange && { onChange: (run) => policy.onChange?.(run) ?? (() => {}) }),
    }
  }

  /** For the guests' resolver. */
  layer(): Layer {
    const without = svcb({ ech: true, h3: true, hints: true })
    return layer('transparent proxy', (query, next) => {
      if (query.type !== RR_TYPE.HTTPS && query.type !== RR_TYPE.SVCB) return next(query)
      return this.#service(query, next, without)
    })
  }

  async #service(query: DnsQuery, next: Next, without: Layer): Promise<Reply> {
    const name = query.name.toString().replace(/\.$/, '')
    const leaves = await this.#leaves({ ip: UNKNOWN, port: 443 }, [name])
    return leaves ? without.answer(query, next) : next(query)
  }

  async #decide(flow: NewFlow): Promise<RouteVerdict> {
    const { proxy } = this.#running ?? {}
    if (proxy === undefined) return DIAL
    const { guest, names, destination } = flow
    const client: TransparentClient = { guest, names, destination }
    const route = await proxy.routeTransparent(client)
    if (route.action === 'dial') return DIAL
    if (route.action === 'deny') return { action: 'reset', rule: route.rule }
    if (route.action === 'accept') {
      const handler = (stream: ByteStream): void => proxy.transparent(stream, client)
      return { action: 'accept', rule: 'proxy', handler }
    }
    const network: Dialer = {
      connect: (_, { origin, signal } = {}) =>
        proxy.openTransparent(
          route.target,
          { ...(origin ?? { layer: 'tcpip', guest, names }), chosenBy: 'guest' },
          signal,
        ),
    }
    return { action: 'dial', rule: `proxy: ${route.way}`, network }
  }

  async #refuseQuic(flow: FlowRequest, policy: EgressPolicy): Promise<Verdict> {
    const { protocol, to, origin } = flow
    const isQuic = protocol === 'udp' && isIpEndpoint(to) && to.port === 443
    if (!isQuic || !isChosenByGuest(origin) || !this.#isWeb(to.ip, 443)) return policy.decide(flow)
    const leaves = await this.#leaves(to, origin?.names ?? [], origin?.guest)
    return leaves ? QUIC_REFUSED : policy.decide(flow)
  }

  /** Whether a connection there would not simply be dialled. */
  async #leaves(
    destination: { readonly ip: string; readonly port: number },
    names: readonly string[],
    guest?: string,
  ): Promise<boolean> {
    const who = guest === undefined ? {} : { guest }
    const route = await this.#running?.proxy.routeTransparent({ ...who, destination, names })
    return route !== undefined && route.action !== 'dial'
  }

  #isWeb(ip: string, port: number): boolean {
    if (this.#running === undefined || !this.#ports.has(port)) return false
    const { gateway, inside } = this.#running
    return !inside.contains(ip) && ip !== gateway.hostAlias6 && ip !== gateway.address6
  }
}

const DIAL: RouteVerdict = { action: 'dial' }

/** Stands for an address that is not known yet. */
const UNKNOWN = '2000::'

const QUIC_REFUSED: Verdict = {
  allow: false,
  rule: 'netkit:quic',
  reason: 'HTTP/3 would go past the proxy; clients fall back to TCP',
}
