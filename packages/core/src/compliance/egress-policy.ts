/** What every `EgressPolicy` must do, whatever it decides. */

import { addressScope } from '../address-scope.ts'
import type { EgressPolicy, FlowRequest, Verdict } from '../egress-policy.ts'
import { assert, assertEqual } from './expectations.ts'
import { defineSuite } from './runner.ts'
import type { ComplianceOptions, ComplianceRunner } from './runner.ts'

/** A policy, and how to change it, where it can change. */
export interface EgressPolicySubject {
  readonly policy: EgressPolicy
  /** Destinations whose verdict is known. */
  readonly allowed: readonly FlowRequest[]
  readonly denied: readonly FlowRequest[]
  /** Makes what was allowed denied. */
  readonly revoke?: () => void | Promise<void>
}

async function decide({ policy }: EgressPolicySubject, flow: FlowRequest): Promise<Verdict> {
  const verdict = await policy.decide(flow)
  assert(verdict.rule !== '', 'a verdict names its rule')
  assert(verdict.reason !== '', 'a verdict says why')
  return verdict
}

const cases: Readonly<Record<string, (subject: EgressPolicySubject) => Promise<void>>> = {
  'it decides as it says': async (subject) => {
    for (const flow of subject.allowed) assert((await decide(subject, flow)).allow, describe(flow))
    for (const flow of subject.denied) assert(!(await decide(subject, flow)).allow, describe(flow))
  },

  'the same question has the same answer': async (subject) => {
    for (const flow of [...subject.allowed, ...subject.denied]) {
      assertEqual(await decide(subject, flow), await decide(subject, flow), describe(flow))
    }
  },

  'it answers for every kind of flow, also one without address, origin or port': async (
    subject,
  ) => {
    for (const protocol of ['tcp', 'udp', 'icmp'] as const) {
      for (const ip of ['203.0.113.1', '2001:db8::1', '127.0.0.1', '169.254.169.254', 'ff02::fb']) {
        const flow = {
          protocol,
          to: { ip, port: 0 },
          ip,
          scope: addressScope(ip),
          origin: undefined,
        }
        await decide(subject, flow)
      }
      const to = { path: '/run/x.sock' }
      await decide(subject, { protocol, to, ip: undefined, scope: 'none', origin: undefined })
      const vsock = { cid: 3, port: 1 }
      const origin = { layer: 'user', guest: 'nobody' } as const
      await decide(subject, { protocol, to: vsock, ip: undefined, scope: 'none', origin })
    }
  },

  'a change is told, and the answers change with it': async (subject) => {
    const { policy, revoke, allowed } = subject
    if (revoke === undefined) return
    let told = 0
    const stop = policy.onChange?.(() => told++)
    assert(stop !== undefined, 'a policy that changes has onChange')
    await revoke()
    assert(told > 0, 'the listener ran')
    for (const flow of allowed) assert(!(await decide(subject, flow)).allow, describe(flow))
    stop()
    stop()
    const before = told
    await revoke()
    assertEqual(told, before, 'calls after the listener was removed')
  },
}

const describe = (flow: FlowRequest): string => `the verdict for ${JSON.stringify(flow)}`

/** Runs the suite. */
export function egressPolicyCompliance(
  runner: ComplianceRunner,
  options: ComplianceOptions<EgressPolicySubject>,
): void {
  defineSuite(runner, 'EgressPolicy', options, cases)
}
