/**
 * The web, in a namespace of its own: one server for everything that the clients ask for, over HTTP and HTTPS.
 *
 * `/hello` says which proxy the request came through; `/slow` takes its time; `/git`, `/apt` and `/npm` are what their names say.
 */

import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { join } from 'node:path'
import { LARGE_BYTES, SLOW_LINES, SLOW_MS, WEB_NAME } from './places.ts'

const [, , folder = ''] = process.argv
process.stdout.write('started\n')
const run = (command: string, ...args: readonly string[]): void => {
  execFileSync(command, args, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
}

// A certificate that the clients are told to trust.
run(
  'openssl',
  'req',
  '-x509',
  '-newkey',
  'ec',
  '-pkeyopt',
  'ec_paramgen_curve:P-256',
  '-nodes',
  '-days',
  '2',
  '-subj',
  `/CN=${WEB_NAME}`,
  '-addext',
  `subjectAltName=DNS:${WEB_NAME}`,
  '-keyout',
  'key.pem',
  '-out',
  'ca.pem',
)

// A repository.
run('git', 'init', '-q', '--initial-branch=main', 'work')
writeFileSync(join(folder, 'work/file'), 'from git\n')
run('git', '-C', 'work', 'add', 'file')
run(
  'git',
  '-C',
  'work',
  '-c',
  'user.name=lab',
  '-c',
  'user.email=lab@web.test',
  'commit',
  '-q',
  '-m',
  'one',
)
run('git', 'clone', '-q', '--bare', 'work', 'git/lab.git')

// A Debian package in a flat repository.
mkdirSync(join(folder, 'deb/DEBIAN'), { recursive: true })
mkdirSync(join(folder, 'apt'))
const control =
  'Package: lab-package\nVersion: 1.0-lab\nArchitecture: all\nMaintainer: lab <lab@web.test>\nDescription: a package\n'
writeFileSync(join(folder, 'deb/DEBIAN/control'), control)
run('dpkg-deb', '-b', 'deb', 'apt/lab-package.deb')
const deb = readFileSync(join(folder, 'apt/lab-package.deb'))
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
writeFileSync(
  join(folder, 'apt/Packages'),
  `${control}Filename: ./lab-package.deb\nSize: ${deb.length}\nSHA256: ${sha256(deb)}\n\n`,
)

// A module.
mkdirSync(join(folder, 'module'))
writeFileSync(
  join(folder, 'module/package.json'),
  '{"name":"lab-module","version":"1.0.0","main":"index.js"}',
)
writeFileSync(join(folder, 'module/index.js'), 'from npm\n')
run('tar', 'czf', 'module.tgz', '--transform=s/^module/package/', 'module')
const tarball = readFileSync(join(folder, 'module.tgz'))
const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`
const metadata = {
  name: 'lab-module',
  'dist-tags': { latest: '1.0.0' },
  versions: {
    '1.0.0': {
      name: 'lab-module',
      version: '1.0.0',
      dist: { tarball: `http://${WEB_NAME}/npm/lab-module.tgz`, integrity },
    },
  },
}

const large = Buffer.alloc(LARGE_BYTES, 'netkit ')

function answer(request: IncomingMessage, response: ServerResponse): void {
  const { pathname, search } = new URL(request.url ?? '/', `http://${WEB_NAME}`)
  if (pathname === '/hello') response.end(`hello by ${request.headers.via ?? 'nobody'}\n`)
  else if (pathname === '/large') response.end(large)
  else if (pathname === '/slow') void trickle(response)
  else if (pathname === '/npm/lab-module') response.end(JSON.stringify(metadata))
  else if (pathname === '/npm/lab-module.tgz') response.end(tarball)
  else if (pathname === '/apt/./Packages' || pathname === '/apt/Packages') {
    response.end(readFileSync(join(folder, 'apt/Packages')))
  } else if (pathname.endsWith('/lab-package.deb')) response.end(deb)
  else if (pathname.startsWith('/git/')) git(request, response, pathname, search)
  else response.writeHead(404).end()
}

async function trickle(response: ServerResponse): Promise<void> {
  for (let line = 0; line < SLOW_LINES; line++) {
    response.write(`${line}\n`)
    await new Promise((resolve) => setTimeout(resolve, SLOW_MS))
  }
  response.end('end\n')
}

/** git's smart protocol by its own CGI program. */
function git(
  request: IncomingMessage,
  response: ServerResponse,
  pathname: string,
  search: string,
): void {
  const { 'content-type': type = '', 'content-encoding': encoding } = request.headers
  const child = spawn('git', ['http-backend'], {
    env: {
      ...process.env,
      GIT_PROJECT_ROOT: join(folder, 'git'),
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: pathname.slice('/git'.length),
      QUERY_STRING: search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: type,
      ...(encoding !== undefined && { HTTP_CONTENT_ENCODING: encoding }),
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  request.pipe(child.stdin)
  let head = Buffer.alloc(0)
  child.stdout.on('data', (bytes: Buffer) => {
    if (response.headersSent) {
      response.write(bytes)
      return
    }
    head = Buffer.concat([head, bytes])
    const end = head.indexOf('\r\n\r\n')
    if (end < 0) return
    for (const line of head.toString('latin1', 0, end).split('\r\n')) {
      const [name = '', value = ''] = line.split(': ', 2)
      if (name === 'Status') response.statusCode = Number.parseInt(value, 10)
      else response.setHeader(name, value)
    }
    response.write(head.subarray(end + 4))
  })
  child.on('close', () => response.end())
}

const plain = createServer(answer).listen(80, '0.0.0.0')
const certificate = {
  key: readFileSync(join(folder, 'key.pem')),
  cert: readFileSync(join(folder, 'ca.pem')),
}
const secure = createTlsServer(certificate, answer).listen(443, '0.0.0.0')
await Promise.all([once(plain, 'listening'), once(secure, 'listening')])
process.stdout.write(`${sha256(large)}\n`)
// The place closes when whoever opened it is gone.
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
