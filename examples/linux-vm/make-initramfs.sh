#!/usr/bin/env bash
# Makes the smallest Linux userland that shows a network: busybox, the modules of a virtio NIC, and an init that asks for DHCP,
# looks a name up, pings the gateway and serves a page on port 80.
#
#   make-initramfs.sh KERNEL_VERSION OUTPUT
set -euo pipefail
version=$1 output=$(realpath -m "$2")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root"/{bin,dev,etc,proc,sys,modules,www}
cp "$(command -v busybox)" "$root/bin/busybox"
echo 'hello from the guest' >"$root/www/index.html"

# Dependencies first, as modprobe would load them; what is built in is not listed as a file.
for module in virtio_pci virtio_net; do
  modprobe --show-depends --set-version "$version" "$module"
done | sed -n 's/^insmod //p' | awk '!seen[$1]++ { print $1 }' >"$root/modules.list"
while read -r file; do
  case $file in
    *.xz) xz -dc "$file" ;;
    *.zst) zstd -qdc "$file" ;;
    *) cat "$file" ;;
  esac >"$root/modules/$(basename "$file" | sed 's/\.ko.*/.ko/')"
done <"$root/modules.list"

cat >"$root/lease" <<'LEASE'
#!/bin/busybox sh
# What udhcpc calls with the lease in its environment.
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
[ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
ip route add default via "$router"
for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
echo "guest: leased $ip/$mask from $serverid, router $router, resolver $dns, MTU $mtu" >/dev/console
LEASE
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r file; do
  file=${file##*/}
  insmod "/modules/${file%.ko*}.ko"
done </modules.list
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -q -f -n -s /lease -O mtu >/dev/null 2>&1 || echo 'guest: no lease'
echo "guest: host.docker.internal is $(nslookup -type=a host.docker.internal | sed -n 's/^Address: //p' | tail -n 1)"
gateway=$(ip route | sed -n 's/^default via \([^ ]*\).*/\1/p')
ping -c 1 -W 5 "$gateway" >/dev/null && echo "guest: the gateway answers"
echo 'guest: serving'
exec httpd -f -p 80 -h /www
INIT
chmod +x "$root/init" "$root/lease"
cd "$root"
find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >"$output"
