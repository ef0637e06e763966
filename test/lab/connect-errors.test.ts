/** A connect that fails on the host fails in the guest, and in the same way: real routes, a real router, two kernels. */

import { beforeAll, describe, expect, inject, test } from 'vitest'
import { runCommand } from '@netkit/guests'
import { FATES, type ErrorReport } from './connect-errors/fates.ts'
import { unless } from './skip-reason.ts'

/** The host's own network namespace, and the sysfs that shows it. */
const HOST = `
mount --make-rprivate / && mount -t sysfs sys /sys && ip link set lo up &&
exec "$1" --conditions=netkit-source "$2"`

const cases = (['ipv4', 'ipv6'] as const).flatMap((family) =>
  FATES.map(({ why, native, guest = native }) => ({
    family,
    why,
    native: native[family],
    guest: guest[family],
  })),
)

describe('a connect that fails', unless(inject('missingGuests').netns), () => {
  let report: ErrorReport

  beforeAll(async () => {
    const script = new URL('connect-errors/host.ts', import.meta.url).pathname
    const { code, stdout, stderr } = await runCommand(
      'unshare',
      ['--net', '--mount', 'bash', '-c', HOST, 'bash', process.execPath, script],
      { timeoutMs: 200_000 },
    )
    if (code !== 0) throw new Error(`The host ended with ${code}:\n${stdout.toString()}${stderr}`)
    report = JSON.parse(stdout.toString().trim().split('\n').at(-1) ?? '') as ErrorReport
  })

  test.each(cases)('$family, $why: $native on the host, $guest in the guest', (expected) => {
    const { family, why } = expected
    expect(report.find((seen) => seen.family === family && seen.why === why)).toEqual(expected)
  })
})
