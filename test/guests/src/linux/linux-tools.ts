/** `GuestTools` for guests with a Linux kernel: busybox and bash scripts, whose output is read here. */

import { formatIpv6, NetkitError } from '@netkit/core'
import type { ExecOptions, ExecResult, LinuxGuest } from '../guest.ts'
import type {
  ConnectionEnd,
  GuestTools,
  Ipv6Configuration,
  Lease,
  Service,
  Transfer,
} from '../guest-tools.ts'
import { BULK_TIMEOUT_MS } from '../limits.ts'
import { LEASE_FILE } from './guest-scripts.ts'

/** One argument of a shell command. */
const quote = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`

const tcp = ({ host, port }: Service): string => quote(`/dev/tcp/${host}/${port}`)

const urlOf = ({ host, port }: Service, path: string): string =>
  quote(`http://${host.includes(':') ? `[${host}]` : host}:${port}${path}`)

/** Bash reports the errno of a failed connect or read by its C library text. */
const ERRNO_TEXT: readonly (readonly [RegExp, ConnectionEnd])[] = [
  [/Connection refused/, 'refused'],
  [/Connection reset by peer/, 'reset'],
  [/No route to host|Network (is )?unreachable|Host is unreachable/, 'unreachable'],
  [/timed out/, 'timeout'],
]

function connectionEnd({ code, stdout }: ExecResult): ConnectionEnd {
  const known = ERRNO_TEXT.find(([text]) => text.test(stdout))
  if (known) return known[1]
  if (code === 0) return 'ok'
  throw new NetkitError('NETKIT_GUEST_COMMAND', `The guest could not try: ${stdout.trim()}`)
}

/** `KEY=VALUE` lines. */
function readAssignments(text: string): Map<string, string> {
  const values = new Map<string, string>()
  for (const line of text.split('\n')) {
    const at = line.indexOf('=')
    if (at > 0) values.set(line.slice(0, at), line.slice(at + 1).trim())
  }
  return values
}

function readLease(text: string): Lease {
  const values = readAssignments(text)
  const need = (key: string): string => {
    const value = values.get(key)
    if (value === undefined)
      throw new NetkitError('NETKIT_GUEST_COMMAND', `The lease has no ${key}:\n${text}`)
    return value
  }
  const words = (key: string): string[] => (values.get(key) ?? '').split(' ').filter(Boolean)
  const mtu = values.get('mtu')
  return {
    ip: need('ip'),
    prefix: Number(need('mask')),
    router: need('router'),
    dns: words('dns'),
    serverId: need('serverid'),
    seconds: Number(need('lease')),
    ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
    search: [...new Set([...words('search'), ...words('domain')])],
  }
}

/** Lines of /proc/net/if_inet6, and a default route. */
function readIpv6(text: string): Ipv6Configuration {
  const addresses = [...text.matchAll(/^([\da-f]{32}) /gm)].map(([, hex = '']) =>
    formatIpv6(Buffer.from(hex, 'hex')),
  )
  return { addresses, router: /via (\S+)/.exec(text)?.[1] ?? '' }
}

/** "BYTES HASH" as `measure` below prints it. */
function readTransfer(text: string): Transfer {
  const match = /(\d+) ([0-9a-f]{64})/.exec(text)
  if (!match)
    throw new NetkitError('NETKIT_GUEST_COMMAND', `No transfer in the output: ${text.trim()}`)
  return { bytes: Number(match[1]), sha256: match[2] ?? '' }
}

/** Prints size and hash of a file. */
const measure = (file: string): string =>
  `echo "$(stat -c %s ${file}) $(sha256sum ${file} | cut -d' ' -f1)"`

/** The last download, or what was made for the last upload. */
const KEPT_FILE = '$NETKIT_GUEST_FOLDER/kept'

/** A new file name in the guest's memory. */
let files = 0
const temporary = (): string => `$NETKIT_GUEST_FOLDER/${++files}`

/** The tools of a guest that has a kernel of its own. */
export function linuxTools(guest: Pick<LinuxGuest, 'exec'>): GuestTools {
  const run = async (script: string, options?: ExecOptions): Promise<string> => {
    const { code, stdout } = await guest.exec(script, options)
    if (code === 0) return stdout
    throw new NetkitError(
      'NETKIT_GUEST_COMMAND',
      `A command in the guest failed with status ${code}.\nCommand: ${script.trim()}\nOutput: ${stdout.trim()}`,
    )
  }
  const bulk: ExecOptions = { timeoutMs: BULK_TIMEOUT_MS }
  // What lies in KEPT_FILE: making and hashing bytes is the slowest thing an emulated guest does, so it is done once.
  let kept: Transfer | undefined

  return {
    async lease() {
      const text = await run(`
        folder=$NETKIT_GUEST_FOLDER
        rm -f $folder/${LEASE_FILE}
        ip link set eth0 up
        busybox udhcpc -i eth0 -q -n -t 20 -T 1 -s "$NETKIT_UDHCPC" -O mtu -O search -O staticroutes \
          -x hostname:"$(hostname)" >$folder/udhcpc.log 2>&1 || { cat $folder/udhcpc.log; exit 1; }
        cat $folder/${LEASE_FILE}`)
      return readLease(text)
    },

    async slaac() {
      // if_inet6: address, interface, prefix length, scope (00 global), flags (40 tentative), name.
      const text = await run(`
        ready() { grep -E '^[0-9a-f]{32} .. .. 00 .. +eth0$' /proc/net/if_inet6 | grep -vE ' [4-7c-f]. +eth0$'; }
        until ready && ip -6 route show default | grep -q 'via fe80'; do usleep 50000; done >/dev/null
        ready
        ip -6 route show default`)
      return readIpv6(text)
    },

    async neighbour(ip) {
      const text = await run(`ping -c 1 -W 2 ${quote(ip)} >/dev/null; ip neigh show ${quote(ip)}`)
      return /lladdr ([0-9a-f:]{17})/.exec(text)?.[1]
    },

    async ping(ip, count) {
      const { stdout } = await guest.exec(`ping -i 0.2 -c ${count} -W 2 ${quote(ip)}`)
      const match = /(\d+) packets transmitted, (\d+) (?:packets )?received/.exec(stdout)
      if (!match) throw new NetkitError('NETKIT_GUEST_COMMAND', `ping said: ${stdout.trim()}`)
      return { sent: Number(match[1]), received: Number(match[2]) }
    },

    async resolve(name) {
      // With its final dot, the name is asked for as it is: busybox would try the search list alone for a short one.
      const { stdout } = await guest.exec(`nslookup -type=a ${quote(name.replace(/\.?$/, '.'))}`)
      // The resolver's own address comes first; answers follow the name they belong to.
      const answers = stdout
        .split(/\nName:/)
        .slice(1)
        .join('\n')
      return [...answers.matchAll(/Address(?: \d+)?: (\d+\.\d+\.\d+\.\d+)\b/g)].map(
        (match) => match[1] ?? '',
      )
    },

    async httpGet(from, path) {
      const file = temporary()
      const { stdout } = await guest.exec(`wget -S -O ${file} ${urlOf(from, path)}`)
      const status = /HTTP\/1\.\d (\d{3})/.exec(stdout)?.[1]
      if (status === undefined)
        throw new NetkitError('NETKIT_GUEST_COMMAND', `wget said: ${stdout.trim()}`)
      return { status: Number(status), body: await run(`touch ${file}; cat ${file}; rm ${file}`) }
    },

    async download(from, path) {
      kept = undefined
      const transfer = readTransfer(
        await run(`wget -q -O ${KEPT_FILE} ${urlOf(from, path)} && ${measure(KEPT_FILE)}`, bulk),
      )
      kept = transfer
      return transfer
    },

    async readSlowly(from) {
      const file = temporary()
      const script = `
        exec 4<>${tcp(from)} || exit 1
        sleep 1
        : >${file}
        while dd bs=64k count=16 iflag=fullblock <&4 2>/dev/null >${file}.piece && [ -s ${file}.piece ]; do
          cat ${file}.piece >>${file}
          usleep 50000
        done
        rm -f ${file}.piece
        ${measure(file)}
        rm ${file}`
      return readTransfer(await run(script, bulk))
    },

    async upload(to, bytes) {
      if (kept?.bytes !== bytes) {
        const make = `head -c ${bytes} /dev/urandom >${KEPT_FILE} && ${measure(KEPT_FILE)}`
        kept = readTransfer(await run(make, bulk))
      }
      // nc ends its direction at its end of file and reads on to the peer's.
      const answer = await run(`nc ${quote(to.host)} ${to.port} <${KEPT_FILE}`, bulk)
      return { sent: kept, answer: answer.trim() }
    },

    async answerAfterEnd(to, text) {
      const received = await run(`
        exec 4<>${tcp(to)} || exit 1
        cat <&4
        printf %s ${quote(text)} >&4
        exec 4>&-`)
      return { received }
    },

    async udpEcho(to, text) {
      const { stdout } = await guest.exec(`
        exec 4<>${quote(`/dev/udp/${to.host}/${to.port}`)} || exit 1
        printf %s ${quote(text)} >&4
        # One read of the socket is one datagram; bash's own read would take a byte and lose the rest.
        timeout 10 dd bs=65536 count=1 <&4 2>/dev/null`)
      return stdout === '' ? undefined : stdout
    },

    async connect(to) {
      return connectionEnd(await guest.exec(`exec 4<>${tcp(to)} && exec 4>&-`))
    },

    async readToEnd(from, line) {
      const file = temporary()
      const result = await guest.exec(`
        exec 4<>${tcp(from)} || exit 1
        printf '%s\\n' ${quote(line)} >&4
        cat <&4 >${file}; code=$?
        stat -c 'bytes %s' ${file}
        rm ${file}
        exit $code`)
      const bytes = /bytes (\d+)/.exec(result.stdout)?.[1] ?? 0
      return { bytes: Number(bytes), end: connectionEnd(result) }
    },

    async abandon(from) {
      // Closing a socket with unread data sends RST (RFC 1122 4.2.2.13; Linux tcp_close).
      await run(`
        exec 4<>${tcp(from)} || exit 1
        IFS= read -r -n 1 -d '' -t 10 first <&4 || exit 1
        exec 4>&-`)
    },

    async parallelEcho(to, count) {
      // All are connected before any is used, and all are used before any is closed.
      const text = await run(
        `
        ulimit -n 4096
        fds=()
        for i in $(seq ${count}); do
          exec {fd}<>${tcp(to)} || exit 1
          fds+=($fd)
        done
        for fd in "\${fds[@]}"; do echo "line of $fd" >&$fd; done
        good=0
        for fd in "\${fds[@]}"; do
          IFS= read -r -t 20 answer <&$fd
          [ "$answer" = "line of $fd" ] && good=$((good + 1))
        done
        echo "good $good"`,
        bulk,
      )
      return Number(/good (\d+)/.exec(text)?.[1] ?? 0)
    },

    async serve(port, text) {
      const file = temporary()
      const script = `
        printf %s ${quote(text)} >${file}
        nc -ll -p ${port} -e cat ${file} </dev/null >/dev/null 2>&1 &
        pid=$!
        # Listening is a state of the kernel's, not a matter of time.
        hex=$(printf ':%04X ' ${port})
        until grep -h "$hex" /proc/net/tcp /proc/net/tcp6 | grep -q ' 0A '; do
          kill -0 $pid || exit 1
          usleep 20000
        done
        echo "pid $pid"`
      const pid = /pid (\d+)/.exec(await run(script))?.[1]
      return {
        port,
        async [Symbol.asyncDispose]() {
          await guest.exec(`kill ${pid}; rm -f ${file}`)
        },
      }
    },
  }
}
