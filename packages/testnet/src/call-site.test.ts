import { describe, expect, it } from 'vitest'
import { callSite, placeIn } from './call-site.ts'

const stack = (...lines: string[]): string =>
  ['Error: opened', ...lines.map((line) => `    at ${line}`)].join('\n')

describe('the place in the program', () => {
  it('is the caller’s line, past netkit, the platform and drivers', () => {
    expect(
      placeIn(
        stack(
          'open (file:///app/node_modules/@netkit/testnet/dist/node/index.js:1:1)',
          'Socket.connect (node:net:1:1)',
          'Client.connect (/app/node_modules/pg/lib/client.js:9:9)',
          'Array.map (<anonymous>)',
          'main (/app/src/main.ts:3:7)',
        ),
      ),
    ).toBe('main (/app/src/main.ts:3:7)')
  })

  it('is the driver where the program is not on the stack, and said to be unknown where nobody is', () => {
    expect(placeIn(stack('a (node:net:1:1)', 'b (/app/node_modules/pg/lib/client.js:9:9)'))).toBe(
      'b (/app/node_modules/pg/lib/client.js:9:9)',
    )
    expect(placeIn(stack('a (node:net:1:1)'))).toBe('a place that is not known')
  })

  it('leaves the depth of stacks as it was', () => {
    const before = Error.stackTraceLimit
    expect(callSite()()).toContain('call-site.test.ts')
    expect(Error.stackTraceLimit).toBe(before)
  })
})
