/** QEMU's command line for a guest, as facts about a machine; nothing here starts anything. */

import { QEMU_AGENTS, QEMU_MEMORY_MIB } from '../limits.ts'

/** How QEMU's NIC is joined to a stack. */
export type QemuNetdev =
  /** Frames over the inherited descriptor 3. */
  | { readonly kind: 'inherited' }
  /**
   * QEMU dials a unix socket; before QEMU 8 it never does so again by itself after a loss. The NIC is joined to the socket by a hub,
   * so that `QemuGuest.redial` can put another stream in the place of the lost one.
   */
  | { readonly kind: 'dials'; readonly path: string }
  /** QEMU listens on a unix socket, and again after a loss. One peer at a time. */
  | { readonly kind: 'listens'; readonly path: string }
  /** Any other netdev without its id, such as `user,net=192.168.65.0/24`: a reference to compare with. */
  | { readonly kind: 'netdev'; readonly spec: string }

/** What runs the guest's instructions. */
export type QemuAccelerator = 'kvm' | 'tcg'

/** A machine. */
export interface QemuMachine {
  readonly kernel: string
  readonly initramfs: string
  readonly accelerator: QemuAccelerator
  readonly netdev: QemuNetdev
  readonly memoryMiB?: number
  /** Default 1. */
  readonly cpus?: number
  /** A raw disk image, the guest's /dev/vda; what the guest writes goes with it. */
  readonly disk?: string
  /** Default 52:54:00:12:34:56. */
  readonly mac?: string
  /** The NIC's MTU as the device announces it; an upper bound for DHCP option 26. */
  readonly hostMtu?: number
  /** QEMU writes a pcap of the link here: what the guest saw, whatever the stack says. */
  readonly pcap?: string
}

/** The inherited descriptors, in `stdio` order. */
export const QEMU_DESCRIPTORS = { link: 3, qmp: 4, console: 5, firstAgent: 6 } as const

/** A comma inside an option's value is written twice. */
const escape = (value: string): string => value.replaceAll(',', ',,')

/** The NIC's own netdev is `n0` in each case: what `set_link` and `filter-dump` name. */
function netdevOptions(netdev: QemuNetdev): string[] {
  if (netdev.kind === 'netdev') {
    const [type = '', ...rest] = netdev.spec.split(',')
    return [[type, 'id=n0', ...rest].join(',')]
  }
  if (netdev.kind === 'inherited')
    return [`stream,id=n0,server=off,addr.type=fd,addr.str=${QEMU_DESCRIPTORS.link}`]
  const at = `addr.type=unix,addr.path=${escape(netdev.path)}`
  if (netdev.kind === 'listens') return [`stream,id=n0,server=on,${at}`]
  return [
    'hubport,id=n0,hubid=0',
    `stream,id=s0,server=off,${at}`,
    'hubport,id=h0,hubid=0,netdev=s0',
  ]
}

/**
 * The kernel's command line. A timer that cannot be calibrated on a busy machine and mitigations for somebody else's CPU are
 * what a boot under TCG spends its time on. IPv6 stays as the kernel has it.
 */
const KERNEL_OPTIONS =
  'console=ttyS0 quiet loglevel=4 tsc=reliable no_timer_check mitigations=off nokaslr no5lvl cryptomgr.notests random.trust_cpu=on'

const socket = (id: string, fd: number): string[] => ['-chardev', `socket,id=${id},fd=${fd}`]

/** The arguments for `qemu-system-x86_64`. */
export function qemuArguments(machine: QemuMachine): string[] {
  const { accelerator, netdev, mac = '52:54:00:12:34:56', hostMtu } = machine
  const nic = `virtio-net-pci,netdev=n0,mac=${mac},romfile=${hostMtu === undefined ? '' : `,host_mtu=${hostMtu}`}`
  const args = [
    ['-machine', 'q35,usb=off,vmport=off,smm=off,sata=off,smbus=off'],
    ['-nodefaults', '-no-user-config'],
    // One thread per CPU; the translation cache is bounded, or it takes a gigabyte.
    ['-accel', accelerator === 'tcg' ? 'tcg,thread=multi,tb-size=256' : 'kvm'],
    ['-cpu', accelerator === 'tcg' ? 'max,la57=off' : 'host'],
    ['-smp', String(machine.cpus ?? 1), '-m', String(machine.memoryMiB ?? QEMU_MEMORY_MIB)],
    ['-display', 'none', '-monitor', 'none'],
    ['-kernel', machine.kernel, '-initrd', machine.initramfs, '-append', KERNEL_OPTIONS],
    ['-object', 'rng-random,id=rng0,filename=/dev/urandom', '-device', 'virtio-rng-pci,rng=rng0'],
    [...netdevOptions(netdev).flatMap((option) => ['-netdev', option]), '-device', nic],
    [...socket('qmp', QEMU_DESCRIPTORS.qmp), '-mon', 'chardev=qmp,mode=control'],
    [...socket('console', QEMU_DESCRIPTORS.console), '-serial', 'chardev:console'],
    ['-device', 'virtio-serial-pci,max_ports=16'],
  ]
  for (let i = 0; i < QEMU_AGENTS; i++) {
    args.push([
      ...socket(`agent${i}`, QEMU_DESCRIPTORS.firstAgent + i),
      '-device',
      `virtserialport,chardev=agent${i},name=netkit.agent.${i},nr=${i + 1}`,
    ])
  }
  if (machine.disk !== undefined) {
    const drive = `file=${escape(machine.disk)},if=none,id=disk0,format=raw,snapshot=on,cache=unsafe`
    args.push(['-drive', drive, '-device', 'virtio-blk-pci,drive=disk0'])
  }
  if (machine.pcap !== undefined)
    args.push(['-object', `filter-dump,id=dump0,netdev=n0,file=${escape(machine.pcap)}`])
  return args.flat()
}
