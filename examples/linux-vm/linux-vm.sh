#!/usr/bin/env bash
# A VM on netkit's network, from a shell: `netkit gateway` on one side of a unix socket, QEMU on the other. No root, no TAP device.
#
#   curl ──▶ 127.0.0.1:PORT ── netkit gateway ── net.sock ── QEMU ── Linux: DHCP, DNS, ping, busybox httpd on port 80
set -euo pipefail
cd "$(dirname "$0")"
source ./vm-parts.sh

finish() {
  local pid
  for pid in ${qemu-} ${gateway-}; do kill "$pid" && wait "$pid" || true; done 2>/dev/null
  rm -rf "$folder"
}
trap finish EXIT

# Prints the line of a log that matches, as soon as it is there.
line_of() {
  local file=$1 pattern=$2 seconds=$3
  timeout "$seconds" bash -c "until grep -m 1 -a '$pattern' '$file' 2>/dev/null; do sleep 0.1; done" || {
    echo "no '$pattern' within $seconds s:" >&2
    cat "$file" >&2
    return 1
  }
}

# Port 0: whichever the host has free.
node_modules/.bin/netkit gateway --qemu "$folder/net.sock" --host-alias --publish 127.0.0.1:0:80 --json >"$folder/gateway.log" &
gateway=$!
ready=$(line_of "$folder/gateway.log" '"event":"ready"' 30)
port=$(sed 's/.*"published":\["127.0.0.1:\([0-9]*\).*/\1/' <<<"$ready")

qemu-system-x86_64 -nodefaults -display none -m 256 -kernel "$kernel" -initrd "$initramfs" \
  -append 'console=ttyS0 quiet loglevel=3' -serial "file:$folder/console.log" \
  -netdev "stream,id=net0,server=off,addr.type=unix,addr.path=$folder/net.sock" \
  -device virtio-net-pci,netdev=net0,host_mtu=65520,romfile= 2>/dev/null &
qemu=$!
line_of "$folder/console.log" 'guest: serving' 120 >/dev/null
grep -a '^guest:' "$folder/console.log" | tr -d '\r'

page=$(curl -sS --max-time 30 "http://127.0.0.1:$port/")
echo "host: 127.0.0.1:$port says: $page"
[[ $page == 'hello from the guest' ]]
grep -aq 'guest: the gateway answers' "$folder/console.log"
grep -aq 'guest: host.docker.internal is 192' "$folder/console.log"
