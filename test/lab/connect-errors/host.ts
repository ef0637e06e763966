/**
 * A host with one cable, in a network namespace of its own, a router at the cable's other end, and a guest of the host.
 *
 * ```
 *   guest (namespace) ── TAP ── netkit, here ── sockets ──▶ routes of this namespace ──▶ wan0 ══ router (namespace)
 * ```
 *
 * Each destination of `FATES` is dialled by the same program on the host and in the guest. Prints an `ErrorReport` as its last line.
 */

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { createGuestNetwork } from '@netkit/guestnet'
import { attachLinux, netnsGuest } from '@netkit/guests'
import { FATES, HOST, ROUTER, type ErrorReport } from './fates.ts'

const run = promisify(execFile)
const sh = async (script: string): Promise<string> =>
  (await run('bash', ['-ec', script], { maxBuffer: 1 << 20 })).stdout

/** Prints an errno's name per destination. All are dialled at once: some take seconds to fail. */
const DIAL = `
import errno, socket, sys, threading
def dial(to, at):
    s = socket.socket(socket.AF_INET6 if ':' in to else socket.AF_INET)
    try:
        s.connect((to, 9))
        said[at] = 'connected'
    except OSError as e:
        said[at] = errno.errorcode.get(e.errno, str(e))
said = {}
threads = [threading.Thread(target=dial, args=(to, i)) for i, to in enumerate(sys.argv[1:])]
for t in threads: t.start()
for t in threads: t.join()
print(' '.join(said[i] for i in range(len(threads))))`

const router = spawn('unshare', ['--net', 'sh', '-c', 'ip link set lo up && echo ready && cat'], {
  stdio: ['pipe', 'pipe', 'inherit'],
})
await once(router.stdout, 'data')
await sh(`
  ip link add wan0 type veth peer name eth0 netns ${router.pid}
  ip addr add ${HOST.ipv4}/24 dev wan0; ip addr add ${HOST.ipv6}/64 dev wan0 nodad; ip link set wan0 up
  nsenter -t ${router.pid} -n bash -ec '
    ip addr add ${ROUTER.ipv4}/24 dev eth0; ip addr add ${ROUTER.ipv6}/64 dev eth0 nodad; ip link set eth0 up
    # An error for every SYN: the kernel has one per second and destination.
    sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
    for n in "198.18.32.1/32 198.18.32.2/32 198.18.32.3/32" "fd00:32::1/128 fd00:32::2/128 fd00:32::3/128"; do
      set -- $n
      ip route add unreachable $1; ip route add prohibit $2; ip route add blackhole $3
    done'
  for n in 32 33; do ip route add 198.18.$n.0/24 via ${ROUTER.ipv4}; ip route add fd00:$n::/64 via ${ROUTER.ipv6}; done
  for n in 198.18.31. fd00:31::; do
    ip route add unreachable \${n}1; ip route add prohibit \${n}2; ip route add blackhole \${n}3
  done
  # Seven seconds of silence are enough, and more than the three that nobody on the cable takes.
  sysctl -qw net.ipv4.tcp_syn_retries=2`)

await using network = await createGuestNetwork({ ipv6: 'on' })
await using guest = await netnsGuest()
await using started = await attachLinux(guest, {
  attach: (link) => network.attach(link, { name: 'guest' }),
})
await started.tools.lease()
await started.tools.slaac?.()

const report: ErrorReport[number][] = []
for (const family of ['ipv4', 'ipv6'] as const) {
  const to = FATES.map((fate) => fate.to[family]).join(' ')
  const program = `python3 - ${to} <<'END'\n${DIAL}\nEND`
  const [native, guestSays] = await Promise.all([
    sh(program),
    guest.exec(program).then(({ stdout }) => stdout),
  ])
  const [ours, theirs] = [native, guestSays].map((text) => text.trim().split(' '))
  for (const [i, { why }] of FATES.entries())
    report.push({ family, why, native: ours?.[i] ?? native, guest: theirs?.[i] ?? guestSays })
}
router.stdin.end()
await started.close()
await network.close()
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0))
