/** The QEMU arguments that match a netkit gateway. */

/** What the arguments depend on. */
export interface QemuNetdev {
  readonly path: string
  /** QEMU listens, netkit connects. */
  readonly qemuListens: boolean
  readonly mtu: number
}

/**
 * Arguments for QEMU 7.2 and later. `host_mtu` starts the guest's interface at the link's MTU, for the many guests that ignore DHCP's option 26.
 */
export function qemuArguments({ path, qemuListens, mtu }: QemuNetdev): string[] {
  // A comma inside a value is doubled in QEMU's option syntax.
  const escaped = path.replaceAll(',', ',,')
  return [
    '-netdev',
    `stream,id=net0,server=${qemuListens ? 'on' : 'off'},addr.type=unix,addr.path=${escaped}`,
    '-device',
    `virtio-net-pci,netdev=net0${mtu === 1500 ? '' : `,host_mtu=${mtu}`}`,
  ]
}

/** The arguments as one line for a shell. */
export function shellLine(args: readonly string[]): string {
  return args
    .map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", `'\\''`)}'`))
    .join(' ')
}
