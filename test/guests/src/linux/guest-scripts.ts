/**
 * The shell scripts of a Linux guest: its first process, its DHCP script, and what they leave where.
 *
 * Everything is busybox; there is no udev and no systemd. The guest does nothing with its network by itself: tests and the
 * tour ask for each step.
 */

/** Folder in a guest for what its scripts write. In a VM it is fixed; a namespace guest has one of its own. */
export const GUEST_FOLDER = '/run/netkit'

/** Files below `$NETKIT_GUEST_FOLDER`. */
export const LEASE_FILE = 'lease'

/**
 * busybox udhcpc's script. The lease arrives as environment; all of it is written down, because it is the best statement of
 * what the DHCP server said. resolv.conf is written in place (it may be a bind mount).
 */
export const UDHCPC_SCRIPT = `#!/bin/busybox sh
folder=\${NETKIT_GUEST_FOLDER:-${GUEST_FOLDER}}
case $1 in
  deconfig)
    busybox ip -4 addr flush dev "$interface"
    busybox ip link set "$interface" up
    ;;
  bound | renew)
    env | busybox grep -E '^(ip|subnet|mask|router|dns|domain|search|hostname|lease|serverid|mtu|staticroutes|broadcast|siaddr|ntpsrv|wpad|opt[0-9]+)=' >"$folder/${LEASE_FILE}"
    [ -z "$mtu" ] || busybox ip link set "$interface" mtu "$mtu"
    busybox ip -4 addr flush dev "$interface"
    busybox ip addr add "$ip/\${mask:-24}" broadcast "\${broadcast:-+}" dev "$interface"
    for gateway in $router; do
      busybox ip route replace default via "$gateway" dev "$interface"
      break
    done
    {
      [ -z "$search$domain" ] || echo "search \${search:-$domain}"
      for server in $dns; do echo "nameserver $server"; done
    } >/etc/resolv.conf
    ;;
esac
exit 0
`

/**
 * Process 1. Kernel command line: \`netkit.agent=hvc0\` names a console that carries commands where there are no virtio-serial
 * ports; \`netkit.hostname=NAME\`.
 *
 * Agents: each line "ID BASE64" on a channel is a script to run; its output comes back raw, then "\\n--netkit-exit ID CODE--\\n".
 * The first line an agent writes is "--netkit-ready …--": a virtio-serial port blocks a writer until the host has opened its
 * end, so after it an end of file means that the host is gone, and the guest powers off.
 */
export const INIT_SCRIPT = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root /var /usr/bin /usr/sbin /sbin
/bin/busybox --install -s /bin
export PATH=/usr/local/bin:/bin:/usr/bin:/sbin:/usr/sbin HOME=/root TERM=linux LC_ALL=C
export NETKIT_GUEST_FOLDER=${GUEST_FOLDER} NETKIT_UDHCPC=/usr/share/udhcpc.sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /tmp
mount -t tmpfs -o size=80% run /run
mkdir -p $NETKIT_GUEST_FOLDER
while read -r module; do
  insmod "/lib/modules/$module" || echo "netkit: $module was not loaded" >/dev/console
done </lib/modules/order
option() {
  for word in $(cat /proc/cmdline); do
    case $word in "$1"=*) echo "\${word#*=}" && return ;; esac
  done
  echo "$2"
}
hostname "$(option netkit.hostname guest)"
ip link set lo up
ulimit -n 65536

agent() {
  channel=$1
  exec 3<>"$channel"
  [ -z "$2" ] || stty -F "$channel" raw -echo
  printf -- '--netkit-ready %s %s--\\n' "$(uname -r)" "$(cut -d' ' -f1 /proc/uptime)" >&3
  while read -r id script <&3; do
    [ -n "$script" ] || continue
    echo "$script" | base64 -d >/tmp/.job-"$id"
    /bin/bash /tmp/.job-"$id" >&3 2>&1 3>&- </dev/null
    code=$?
    rm -f /tmp/.job-"$id"
    printf '\\n--netkit-exit %s %s--\\n' "$id" "$code" >&3
  done
  poweroff -f
}

console=$(option netkit.agent)
[ -z "$console" ] || agent "/dev/$console" tty &
for port in /sys/class/virtio-ports/*; do
  [ -e "$port/name" ] || continue
  case $(cat "$port/name") in netkit.agent.*) agent "/dev/\${port##*/}" & ;; esac
done
while :; do
  wait
  sleep 3600
done
`
