/**
 * A container engine in a VM: the kernel and the agents of `bootQemu`, and a disk with dockerd.
 *
 * ```
 *   initramfs (agents) ── exec ──▶ mount /dev/vda, a mount namespace whose root it is ──▶ engine-boot.sh ──▶ dockerd
 *                                                                                          eth0:2375, for the gateway
 * ```
 *
 * The disk is made once, from the Debian tree of engine-tree.sh; what a guest writes is gone with it. Without KVM a boot takes half a
 * minute, and a container several seconds.
 */

import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { NetkitError } from '@netkit/core'
import { cacheFolder } from '../cache.ts'
import { frameLinkOf } from '../frame-link-of.ts'
import { BOOT_TIMEOUT_MS, ENGINE_CPUS, ENGINE_MEMORY_MIB, PACKAGE_TIMEOUT_MS } from '../limits.ts'
import { UDHCPC_SCRIPT } from '../linux/guest-scripts.ts'
import { WANTED_MODULES } from '../linux/initramfs.ts'
import { findProgram, qemuMissing } from '../qemu/qemu-files.ts'
import { bootQemu } from '../qemu/qemu-guest.ts'
import { requireCommand } from '../run-command.ts'
import { ENGINE_IMAGE } from './engine-guest.ts'
import type { EngineGuest, EngineGuestOptions } from './engine-guest.ts'

/** An engine in a VM: its API is on its network alone. */
export type QemuEngine = Omit<EngineGuest, 'socket' | 'pid'>

/** What an engine's bridge, its NAT rules and its storage need beside a guest's devices. */
const ENGINE_MODULES = `
  virtio_blk ext4 overlay veth bridge br_netfilter
  nf_tables nft_compat nft_chain_nat nft_masq nft_ct nft_reject_inet nft_fib_inet
  xt_conntrack xt_MASQUERADE xt_addrtype xt_comment xt_mark xt_nat xt_tcpudp xt_multiport xt_REDIRECT
  ipt_REJECT ip6t_REJECT`
  .trim()
  .split(/\s+/)

const scriptFile = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** What keeps an engine in a VM from running here, and what to do about it; `undefined` when one can. */
export async function qemuEngineMissing(
  cache: string = cacheFolder(),
): Promise<string | undefined> {
  const missing = await qemuMissing()
  if (missing !== undefined)
    return `not installed: ${missing}. On Debian: apt-get install ${missing.replaceAll(',', '')}`
  if (existsSync(join(cache, 'engine', 'engine.ext4'))) return undefined
  if (process.getuid?.() !== 0)
    return `its disk has not been made. Make it once as root (sudo netkit up --docker --guest qemu) with NETKIT_CACHE=${cache}`
  const programs = ['mmdebstrap', 'mke2fs', 'tar']
  const found = await Promise.all(programs.map(findProgram))
  const absent = programs.filter((_, i) => found[i] === undefined)
  return absent.length === 0
    ? undefined
    : `not installed: ${absent.join(', ')}. On Debian: apt-get install mmdebstrap e2fsprogs tar`
}

/** Starts an engine in a VM. Rejects with `NETKIT_GUEST_UNAVAILABLE` where none can run. */
export async function startQemuEngine(
  options: Pick<EngineGuestOptions, 'mtu' | 'portRange' | 'cache' | 'progress' | 'signal'> &
    Required<Pick<EngineGuestOptions, 'attach'>>,
): Promise<QemuEngine> {
  const { attach, mtu = 1500, portRange, progress = (): void => {}, signal } = options
  const cache = options.cache ?? cacheFolder()
  const missing = await qemuEngineMissing(cache)
  if (missing !== undefined)
    throw new NetkitError(
      'NETKIT_GUEST_UNAVAILABLE',
      `No container engine in QEMU can run here: ${missing}`,
    )
  const folder = join(cache, 'engine')
  if (!existsSync(join(folder, 'engine.ext4')))
    progress('Making the engine’s disk, once: a minute and a half, 1.1 GB.')
  const made = await requireCommand('bash', [scriptFile('./engine-image.sh'), folder], {
    timeoutMs: PACKAGE_TIMEOUT_MS,
  })
  const guest = await bootQemu({
    cache,
    progress,
    disk: made.toString().trim(),
    memoryMiB: ENGINE_MEMORY_MIB,
    cpus: ENGINE_CPUS,
    modules: [...WANTED_MODULES, ...ENGINE_MODULES],
    ...(signal && { signal }),
  })
  const link = await frameLinkOf(guest.link, { mtu })
  const close = async (): Promise<void> => {
    await guest.close()
    await link.close()
  }
  try {
    attach(link)
    progress('The engine starts.')
    const boot = await readFile(scriptFile('./engine-boot.sh'), 'utf8')
    const { code, stdout } = await guest.exec(startScript(boot, portRange), {
      timeoutMs: BOOT_TIMEOUT_MS,
    })
    if (code !== 0)
      throw new NetkitError(
        'NETKIT_GUEST_GONE',
        `The container engine did not start.\n${stdout.trim()}`,
      )
  } catch (error) {
    await close()
    throw error
  }
  const exec: QemuEngine['exec'] = (command, execOptions) =>
    guest.exec(`${ENTER} sh -c ${quote(command)}`, execOptions)
  return {
    client: {
      docker: join(folder, 'docker-client/docker'),
      config: join(folder, 'docker-client/config'),
    },
    exec,
    async crash() {
      await exec('kill $(cat /run/docker.pid)')
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

const quote = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`

/** Into the engine's mount namespace, whose root its disk is. */
const ENTER =
  'busybox nsenter -t $(cat /run/netkit/engine.pid) -m -r -w env PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root'

/** Mounts the disk, starts the engine on it, waits for its answer, and gives it the image. */
function startScript(boot: string, portRange: EngineGuestOptions['portRange']): string {
  return `
set -e
new=/run/engine
mkdir -p $new
mount -t ext4 /dev/vda $new
mount -t proc proc $new/proc
mount -t sysfs sysfs $new/sys
mount -t devtmpfs dev $new/dev
mkdir -p $new/dev/pts $new/dev/shm
mount -t devpts devpts $new/dev/pts
for place in run tmp dev/shm; do mount -t tmpfs tmpfs $new/$place; done
mount -t cgroup2 cgroup2 $new/sys/fs/cgroup
# Controllers can only be handed on from a group without processes.
mkdir -p $new/sys/fs/cgroup/netkit
for process in $(cat $new/sys/fs/cgroup/cgroup.procs); do echo $process >$new/sys/fs/cgroup/netkit/cgroup.procs 2>/dev/null || true; done
for controller in $(cat $new/sys/fs/cgroup/cgroup.controllers); do echo +$controller >$new/sys/fs/cgroup/cgroup.subtree_control || true; done
printf %s ${quote(boot)} >$new/netkit/engine-boot.sh
printf %s ${quote(UDHCPC_SCRIPT)} >$new/netkit/udhcpc.sh
chmod +x $new/netkit/udhcpc.sh
hostname netkit-engine
# Not chroot alone: docker exec enters by setns(2), which lands on what is mounted over the namespace's root.
busybox setsid busybox unshare -m sh -c '
  echo $$ >/run/netkit/engine.pid
  cd /run/engine && mount --move . / && exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \\
    NETKIT_GUEST_FOLDER=/run/netkit NETKIT_UDHCPC=/netkit/udhcpc.sh NETKIT_PORT_RANGE="${portRange?.join(' ') ?? ''}" \\
    docker-init -s -- /bin/sh /netkit/engine-boot.sh docker /run/docker.sock frames
' </dev/null >/run/netkit/engine.log 2>&1 &
engine=$!
answers() { ${ENTER} sh -c 'printf "GET /_ping HTTP/1.0\\r\\nHost: engine\\r\\n\\r\\n" | socat -t5 - UNIX-CONNECT:/run/docker.sock' 2>/dev/null | grep -q ^OK; }
until [ -s /run/netkit/engine.pid ] && answers; do
  kill -0 $engine || { tail -n 20 /run/netkit/engine.log; exit 1; }
  sleep 0.3
done
${ENTER} docker -H unix:///run/docker.sock import -c 'CMD ["/bin/sh"]' -c 'ENV PATH=/bin' /netkit/busybox.tar ${ENGINE_IMAGE}
`
}
