/**
 * Runs the composed system under mixed load and faults, and says whether it held: `pnpm soak [--minutes 2] [--engine auto|yes|no]`.
 * Needs root and Linux: everything happens in namespaces that end with it.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { engineMissing, findProgram, netnsMissing } from '@netkit/guests'
import { HOST } from './places.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '2' },
    engine: { type: 'string', default: 'auto' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write('soak [--minutes 2] [--engine auto|yes|no]\n')
  process.exit(0)
}

async function missing(): Promise<string | undefined> {
  for (const program of ['curl', 'socat', 'ip'])
    if ((await findProgram(program)) === undefined) return `${program} is not installed`
  return await netnsMissing()
}
const lacks = await missing()
if (lacks !== undefined) {
  process.stderr.write(
    `The soak cannot run here: ${lacks}. scripts/install-lab-deps.sh installs what it needs.\n`,
  )
  process.exit(2)
}
const engineLacks = values.engine === 'no' ? 'not asked for' : await engineMissing()
if (engineLacks !== undefined) {
  process.stderr.write(`Without a container engine: ${engineLacks}.\n`)
  if (values.engine === 'yes') process.exit(2)
}

/** The host of the soak: an address of its own, and nothing else of this machine's network. */
const HOST_SCRIPT = `
mount --make-rprivate / && ip link set lo up && ip addr add ${HOST}/32 dev lo && exec "$@"`
const system = new URL('system.ts', import.meta.url).pathname
const node = [
  process.execPath,
  '--conditions=netkit-source',
  '--no-warnings',
  '--expose-gc',
  system,
]
const child = spawn(
  'unshare',
  ['--net', '--mount', 'sh', '-c', HOST_SCRIPT, 'sh', ...node].concat(
    String(Number(values.minutes) * 60),
    engineLacks === undefined ? 'yes' : 'no',
  ),
  { stdio: 'inherit' },
)
const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
if (signal !== null) process.stderr.write(`The soak was ended by ${signal}.\n`)
process.exitCode = code ?? 1
