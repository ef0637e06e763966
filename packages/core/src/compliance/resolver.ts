/** What every `Resolver` must do. */

import { normalizeIp } from '../address.ts'
import type { Resolver } from '../resolver.ts'
import { assert, assertEqual, assertRejects, rejection } from './expectations.ts'
import { defineSuite } from './runner.ts'
import type { ComplianceOptions, ComplianceRunner } from './runner.ts'

/** A resolver that knows one name and does not know another. */
export interface ResolverSubject {
  readonly resolver: Resolver
  readonly name: string
  /** The name's addresses by family, canonical; each at least one. */
  readonly addresses: { readonly 4: readonly string[]; readonly 6: readonly string[] }
  readonly missing: string
}

const cases: Readonly<Record<string, (subject: ResolverSubject) => Promise<void>>> = {
  'a name has its addresses of both families, each once, in canonical text': async (subject) => {
    const found = await subject.resolver.resolve(subject.name)
    const wanted = [...subject.addresses[4], ...subject.addresses[6]]
    assertEqual(found.toSorted(), wanted.toSorted(), 'addresses')
    for (const ip of found) assertEqual(ip, normalizeIp(ip), 'canonical text')
  },

  'a family that is asked for is the only one': async ({ resolver, name, addresses }) => {
    assertEqual(await resolver.resolve(name, { family: 4 }), addresses[4], 'IPv4')
    assertEqual(await resolver.resolve(name, { family: 6 }), addresses[6], 'IPv6')
  },

  'a name that does not exist is ENOTFOUND': async ({ resolver, missing }) => {
    await assertRejects(resolver.resolve(missing), ['ENOTFOUND'], 'resolve')
  },

  'an aborted call rejects with the reason': async ({ resolver, name }) => {
    const reason = new Error('not today')
    const before = resolver.resolve(name, { signal: AbortSignal.abort(reason) })
    assert((await rejection(before, 'a signal that had fired')) === reason, 'the reason')
    const controller = new AbortController()
    const during = resolver.resolve(name, controller)
    controller.abort(reason)
    const error = await during.catch((e: unknown) => e)
    assert(error === reason || Array.isArray(error), 'the reason, or an answer that came first')
  },
}

/** Runs the suite. */
export function resolverCompliance(
  runner: ComplianceRunner,
  options: ComplianceOptions<ResolverSubject>,
): void {
  defineSuite(runner, 'Resolver', options, cases)
}
