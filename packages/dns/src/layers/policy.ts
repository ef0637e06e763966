import { addressScope } from '@netkit/core'
import type { EgressPolicy, FlowRequest, Verdict } from '@netkit/core'
import { channels } from '../diagnostics.ts'
import { layer } from '../layer.ts'
import type { Answer, Layer } from '../layer.ts'
import { LOCAL_TTL_S } from '../limits.ts'
import type { DnsQuery } from '../query.ts'
import { addressRecords, makeReply } from '../reply.ts'
import type { OwnRecord, Reply } from '../reply.ts'
import { EDE, RCODE } from '../wire/header.ts'
import { parseName } from '../wire/name.ts'
import { NameTable } from '../wire/name-table.ts'
import { addressOf, encodeRecord } from '../wire/record-data.ts'
import { RR_TYPE } from '../wire/rr-type.ts'
import { addressRecord } from './docker-internal.ts'

/** Whether a name may be asked for. `undefined` has no opinion. */
export type NameVerdict = Pick<Verdict, 'allow' | 'rule' | 'reason'> | undefined

/** Options of `policy`. */
export interface PolicyOptions {
  /** Asked for every query, before anybody else sees it: a name that may not be used must not leave the host either. */
  decide: (name: string, query: DnsQuery) => NameVerdict | Promise<NameVerdict>
  /** What a denied name looks like: it does not exist, it is refused, or it leads to these addresses. Default `nxdomain`. */
  reply?: 'nxdomain' | 'refused' | { readonly sinkhole: readonly string[] }
}

/** Refuses names. The reason goes along as an extended error and to the channel `netkit:dns:denied`. */
export function policy(options: PolicyOptions): Layer {
  const { decide, reply = 'nxdomain' } = options
  return layer('policy', (query, next) => {
    const judged = (verdict: NameVerdict): Answer => {
      if (!verdict) return next(query)
      const { allow, rule, reason } = verdict
      query.trace?.note('policy', `${allow ? 'allowed' : 'denied'} by ${rule}: ${reason}`)
      if (allow) return next(query)
      channels.denied.publish({ name: query.name.toString(), guest: query.client.guest, rule })
      return denial(query, reply, `${rule}: ${reason}`)
    }
    const verdict = decide(query.name.toString(), query)
    return verdict instanceof Promise ? verdict.then(judged) : judged(verdict)
  })
}

function denial(query: DnsQuery, reply: NonNullable<PolicyOptions['reply']>, text: string): Reply {
  const error = { code: EDE.PROHIBITED, text }
  if (reply === 'refused') return makeReply(query, { from: 'policy', rcode: RCODE.REFUSED, error })
  if (reply === 'nxdomain')
    return makeReply(query, { from: 'policy', rcode: RCODE.NXDOMAIN, error })
  const records: OwnRecord[] = []
  for (const ip of reply.sinkhole) {
    const { type, rdata } = encodeRecord(addressRecord(ip))
    if (type === query.type) records.push({ type, rdata, ttl: LOCAL_TTL_S })
  }
  return makeReply(query, { from: 'policy', records, error: { code: EDE.BLOCKED, text } })
}

/**
 * An egress policy as a policy for names: a name may be asked for if some flow to it would be allowed, tried on the ports that names
 * are used with. The flow itself is decided again, with its address, when it is opened.
 *
 * @param ports - TCP ports to try. Default 443 and 80.
 */
export function egressNames(
  egress: EgressPolicy,
  ports: readonly number[] = [443, 80],
): PolicyOptions['decide'] {
  return async (name, query) => {
    const { guest, source } = query.client
    const origin = {
      layer: 'dns' as const,
      names: [name],
      ...(guest === undefined ? {} : { guest }),
      ...(source === undefined ? {} : { source }),
    }
    const flows = ports.map((port): FlowRequest => ({
      protocol: 'tcp',
      // No address yet: rules about addresses do not match, rules about names do.
      to: { ip: '', port },
      ip: undefined,
      scope: 'public',
      origin,
    }))
    const verdicts = await Promise.all(flows.map(async (flow) => await egress.decide(flow)))
    return verdicts.find((verdict) => verdict.allow) ?? verdicts[0]
  }
}

/** Options of `rebinding`. */
export interface RebindingOptions {
  /** Suffixes whose names may have private addresses. */
  allow?: readonly string[]
}

/**
 * Protects against DNS rebinding: a name from an upstream may not lead to a private, link-local, loopback or metadata address, unless
 * it is allowed to. Such an answer becomes NODATA. Off unless put into the chain: company names do have private addresses.
 */
export function rebinding(options: RebindingOptions = {}): Layer {
  const allowed = new NameTable<true>()
  for (const suffix of options.allow ?? []) allowed.set(parseName(suffix), true)
  return layer('rebinding', (query, next) => {
    const answer = next(query)
    const { type } = query
    if (type !== RR_TYPE.A && type !== RR_TYPE.AAAA) return answer
    if (allowed.longest(query.name)) return answer
    return answer instanceof Promise
      ? answer.then((reply) => publicOnly(query, reply))
      : publicOnly(query, answer)
  })
}

function publicOnly(query: DnsQuery, reply: Reply): Reply {
  let found: string | undefined
  addressRecords(reply, (type, bytes, at) => {
    const ip = addressOf(type, bytes, at)
    if (addressScope(ip) !== 'public') found ??= ip
  })
  if (found === undefined) return reply
  const error = { code: EDE.FILTERED, text: `${found} is not a public address` }
  return makeReply(query, { from: 'rebinding', error })
}
