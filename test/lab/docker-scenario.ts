/** One scenario of docker commands, run twice: the second run must say and return what the first did. */

import { ENGINE_IMAGE } from '@netkit/guests'
import type { CommandResult, Docker } from './docker-cli.ts'

/** One command. */
export interface Step {
  readonly name: string
  readonly args: readonly string[]
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
}

// 3 MB that do not compress into anything regular.
const LARGE = Array.from({ length: 300_000 }, (_, i) =>
  ((i * 2_654_435_761) >>> 0).toString(36),
).join('\n')

const shell = (script: string): string[] => [ENGINE_IMAGE, 'sh', '-c', script]
const web = ['-d', '--name', 'web']
const serve = shell('echo up; exec httpd -f -p 80 -h /www')

/** A container with a binding, what it says of it, and its end. */
const published = (what: string, ...binding: string[]): Step[] => [
  { name: `run -p ${what}`, args: ['run', ...web, ...binding, ...serve] },
  { name: `port of ${what}`, args: ['port', 'web'] },
  { name: `ps of ${what}`, args: ['ps', '-a', '--format', '{{.Names}} {{.Ports}}'] },
  {
    name: `bindings of ${what}`,
    args: ['inspect', '-f', '{{json .HostConfig.PortBindings}}', 'web'],
  },
  { name: `rm of ${what}`, args: ['rm', '-f', 'web'] },
]

/**
 * The scenario.
 *
 * @param run - What tells this run from others: a label of its containers.
 * @param files - A folder with `compose.yaml` and `context/Dockerfile`.
 */
export const scenario = (run: string, files: string): readonly Step[] => [
  { name: 'version', args: ['version', '--format', '{{.Server.Version}} {{.Server.APIVersion}}'] },
  { name: 'run', args: ['run', '--rm', ENGINE_IMAGE, 'echo', 'hello'] },
  { name: 'run with an exit code', args: ['run', '--rm', ...shell('echo no >&2; exit 7')] },
  {
    name: 'run -i to the end of its input',
    args: ['run', '--rm', '-i', ENGINE_IMAGE, 'cat'],
    input: 'typed\n',
  },
  {
    name: 'run -i with 3 MB',
    args: ['run', '--rm', '-i', ENGINE_IMAGE, 'sha256sum'],
    input: LARGE,
  },
  {
    name: 'output after the end of input',
    args: ['run', '--rm', '-i', ...shell('cat >/dev/null; sleep 0.3; echo late')],
    input: 'x',
  },
  { name: 'run -t', args: ['run', '--rm', '-t', ...shell('tty')] },
  { name: 'a command that is not there', args: ['run', '--rm', ENGINE_IMAGE, 'no-such-command'] },
  {
    name: 'run -d',
    args: ['run', ...web, '--label', `run=${run}`, '-p', '127.0.0.1:0:80', ...serve],
  },
  { name: 'logs', args: ['logs', 'web'] },
  { name: 'exec', args: ['exec', 'web', 'cat', '/www/index.html'] },
  { name: 'exec without input', args: ['exec', 'web', 'sh', '-c', 'echo a; echo b >&2; exit 3'] },
  { name: 'exec -i', args: ['exec', '-i', 'web', 'sha256sum'], input: LARGE },
  { name: 'cp out', args: ['cp', 'web:/www/index.html', '-'] },
  { name: 'cp in', args: ['cp', `${files}/compose.yaml`, 'web:/tmp/copied'] },
  { name: 'what was copied', args: ['exec', 'web', 'cat', '/tmp/copied'] },
  { name: 'cp of what is not there', args: ['cp', 'web:/nothing', '-'] },
  { name: 'a name that is taken', args: ['run', '--name', 'web', ENGINE_IMAGE, 'true'] },
  { name: 'an image that is not there', args: ['run', '--pull', 'never', 'lab/none'] },
  { name: 'rename', args: ['rename', 'web', 'web2'] },
  { name: 'inspect', args: ['inspect', '--format', '{{.Name}} {{.State.Status}}', 'web2'] },
  { name: 'labels', args: ['inspect', '--format', '{{json .Config.Labels}}', 'web2'] },
  { name: 'pause', args: ['pause', 'web2'] },
  { name: 'unpause', args: ['unpause', 'web2'] },
  { name: 'restart', args: ['restart', '-t', '0', 'web2'] },
  { name: 'network create', args: ['network', 'create', '--label', `run=${run}`, 'front'] },
  { name: 'network connect', args: ['network', 'connect', 'front', 'web2'] },
  { name: 'network disconnect', args: ['network', 'disconnect', 'front', 'web2'] },
  { name: 'network rm', args: ['network', 'rm', 'front'] },
  { name: 'top', args: ['top', 'web2', '-o', 'comm'] },
  { name: 'kill', args: ['kill', 'web2'] },
  { name: 'wait', args: ['wait', 'web2'] },
  { name: 'start -a of what has ended', args: ['start', '-a', 'none'] },
  { name: 'rm', args: ['rm', 'web2'] },
  {
    name: 'events',
    args: [
      'events',
      '--since',
      '10m',
      '--until',
      '-2s',
      '--filter',
      `label=run=${run}`,
      '--filter',
      'type=container',
      '--format',
      '{{.Type}} {{.Action}}',
    ],
  },
  {
    name: 'create -i',
    args: ['create', '-i', '--name', 'web', ...shell('read x; echo got $x; exit 4')],
  },
  { name: 'start -ai', args: ['start', '-ai', 'web'], input: 'typed\n' },
  { name: 'rm of what was started', args: ['rm', 'web'] },
  {
    name: 'run of what is attached',
    args: ['run', ...web, ...shell('sleep 3; echo still here; exit 5')],
  },
  { name: 'attach', args: ['attach', 'web'] },
  { name: 'rm of what was attached', args: ['rm', 'web'] },
  {
    name: 'run of what logs -f follows',
    args: ['run', ...web, ...shell('for i in 1 2 3; do echo $i; sleep 0.2; done')],
  },
  { name: 'logs -f', args: ['logs', '-f', 'web'] },
  { name: 'rm of what was followed', args: ['rm', 'web'] },
  ...published('18080:80', '-p', '18080:80'),
  ...published('127.0.0.1:18081:80', '-p', '127.0.0.1:18081:80'),
  ...published('[::1]:18082:80', '-p', '[::1]:18082:80'),
  ...published('18083-18085:80', '-p', '18083-18085:80'),
  ...published('18086-18087:80-81', '-p', '18086-18087:80-81'),
  ...published('18088:80/udp', '-p', '18088:80/udp'),
  ...published('127.0.0.1::80', '-p', '127.0.0.1::80'),
  ...published('80', '-p', '80'),
  ...published('-P', '-P', '--expose', '5000'),
  ...published('host network', '--network', 'host', '-p', '18089:80'),
  ...published('70000:80', '-p', '70000:80'),
  ...published('18091-18090:80', '-p', '18091-18090:80'),
  ...published('two of one', '-p', '18092:80', '-p', '18092:81'),
  { name: 'save of what is not there', args: ['save', 'lab/none'] },
  { name: 'save', args: ['save', '-o', `${files}/image.tar`, ENGINE_IMAGE] },
  { name: 'load', args: ['load', '-i', `${files}/image.tar`] },
  {
    name: 'BuildKit',
    args: ['build', '-q', '--network', 'none', '--no-cache', `${files}/context`],
  },
  {
    name: 'BuildKit, a step that fails',
    args: ['build', '-q', '--network', 'none', '-'],
    input: `FROM ${ENGINE_IMAGE}\nRUN exit 9\n`,
  },
  {
    name: 'the classic builder',
    args: ['build', '--network', 'none', '--no-cache', `${files}/context`],
    env: { DOCKER_BUILDKIT: '0' },
  },
  {
    name: 'compose up',
    args: ['compose', '--progress', 'quiet', '-f', `${files}/compose.yaml`, 'up', '-d'],
  },
  {
    name: 'compose ps',
    args: [
      'compose',
      '-f',
      `${files}/compose.yaml`,
      'ps',
      '--format',
      '{{.Service}} {{.State}} {{.Ports}}',
      'web',
    ],
  },
  {
    name: 'compose up again',
    args: ['compose', '--progress', 'quiet', '-f', `${files}/compose.yaml`, 'up', '-d'],
  },
  {
    name: 'compose logs',
    args: ['compose', '-f', `${files}/compose.yaml`, 'logs', '--no-color', 'once'],
  },
  {
    name: 'compose exec',
    args: [
      'compose',
      '-f',
      `${files}/compose.yaml`,
      'exec',
      '-T',
      'web',
      'wget',
      '-qO-',
      'http://web/',
    ],
  },
  {
    name: 'compose down',
    args: ['compose', '--progress', 'quiet', '-f', `${files}/compose.yaml`, 'down', '-t', '0'],
  },
]

// No BuildKit; events come late; no cgroup controllers here for compose. Of the bindings, one is enough: a command takes a second.
const notPodman =
  /^(?:BuildKit|the classic builder|compose|events|top)|^(?:run -p|port of|ps of|bindings of|rm of) (?!what|127\.0\.0\.1:)/

/** What is left of it for podman's service. */
export const podmanScenario = (run: string, files: string): readonly Step[] =>
  scenario(run, files).filter(({ name }) => !notPodman.test(name))

/** The files that the scenario uses. */
export const SCENARIO_FILES: Readonly<Record<string, string>> = {
  'compose.yaml': `name: lab
services:
  web:
    image: ${ENGINE_IMAGE}
    command: httpd -f -p 80 -h /www
    ports: ["18093:80", "127.0.0.1:18094:80"]
  once:
    image: ${ENGINE_IMAGE}
    command: echo from compose
`,
  'context/Dockerfile': `FROM ${ENGINE_IMAGE}\nCOPY Dockerfile /copied\nRUN cat /copied\n`,
}

/** What differs between any two runs, and nothing else. */
const differences: readonly (readonly [RegExp, string])[] = [
  // Ids and digests; short ones in the classic builder's output.
  [/\b[0-9a-f]{64}\b/g, '<id>'],
  [/\b[0-9a-f]{12}\b/g, '<short id>'],
  [/\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z| [+-]\d{4} \S+)?/g, '<time>'],
  // The run's own label and its sockets.
  [/\b(?:direct|proxied)\b/g, '<run>'],
  [/\b(?:docker|proxy)\.sock\b/g, '<socket>'],
  // Numbers that the engine chooses: out of `enginePortRange()`, which the scenario's own numbers are not in.
  [/\b[23]\d{4}\b/g, '<port>'],
  // Out of the scenario's range: the engine goes on from the last one that it took.
  [/\b1808[345]\b(?!-\d)/g, '<port of the range>'],
  // The engine sets up both families at once, and tells of the first that fails.
  [/(?:0\.0\.0\.0|::):(\d+) failed/g, '<any address>:$1 failed'],
  // A stop and the end that it causes are two threads of the engine's.
  [/container stop\ncontainer die/g, 'container die\ncontainer stop'],
]

const normalText = (text: string): string =>
  differences.reduce((left, [pattern, name]) => left.replace(pattern, name), text)

const normal = ({ code, stdout, stderr }: CommandResult): CommandResult => ({
  code,
  stdout: normalText(stdout),
  stderr: normalText(stderr),
})

/** Runs the scenario against one socket. */
export async function play(
  docker: Docker,
  socket: string,
  steps: readonly Step[],
): Promise<Map<string, CommandResult>> {
  const results = new Map<string, CommandResult>()
  for (const { name, args, input, env } of steps)
    results.set(name, normal(await docker(socket, args, input, env)))
  return results
}
