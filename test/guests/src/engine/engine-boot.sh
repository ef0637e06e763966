#!/bin/sh
# In the guest: its network, then the engine, started again whenever it ends.
#
#   engine-boot.sh KIND SOCKET NETWORK [engine arguments…]
#
# KIND is docker or podman, SOCKET the path of the engine's API. NETWORK says where the engine's network comes from:
#   none     nowhere
#   frames   eth0, by DHCP. The API is then also served on TCP port 2375, to the gateway alone.
#
# NETKIT_UDHCPC is udhcpc's script, NETKIT_GUEST_FOLDER a folder for what it writes, NETKIT_PORT_RANGE ("FIRST LAST") the ports that
# the engine takes when it may choose. With ROOTLESSKIT_STATE_DIR dockerd runs in rootless mode, and asks the api.sock there for its
# ports.
set -e
kind=$1 socket=$2 network=$3
shift 3
mkdir -p "$NETKIT_GUEST_FOLDER"
[ -z "$NETKIT_PORT_RANGE" ] || echo "$NETKIT_PORT_RANGE" >/proc/sys/net/ipv4/ip_local_port_range

# Where rootless mode would look for its folders.
if [ -n "$ROOTLESSKIT_STATE_DIR" ]; then
  export XDG_RUNTIME_DIR=/run
  set -- --rootless --data-root /var/lib/docker "$@"
fi

tcp=
if [ "$network" = frames ]; then
  until [ -e /sys/class/net/eth0 ]; do sleep 0.05; done
  ip link set eth0 up
  busybox udhcpc -i eth0 -n -t 30 -T 1 -s "$NETKIT_UDHCPC" -O mtu -O search
  gateway=$(ip -4 route show default | sed -n 's/^default via \([^ ]*\).*/\1/p')
  # Whoever reaches the API is root here. What comes from a container, or from this host itself, arrives on another interface;
  # what another guest sends comes from its own address, to which the gateway holds it.
  nft -f - <<RULES
table inet netkit {
  chain engine {
    type filter hook input priority -10; policy accept;
    tcp dport 2375 iifname "eth0" ip saddr $gateway accept
    tcp dport 2375 reject with tcp reset
  }
}
RULES
  tcp=0.0.0.0:2375
fi

while :; do
  rm -f /run/docker.pid
  # An engine that fails is started again, as a service manager does.
  case $kind in
    podman) podman system service --time=0 "unix://$socket" "$@" || true ;;
    docker)
      if [ -n "$tcp" ]; then set -- -H "tcp://$tcp" --tls=false --mtu "$(cat /sys/class/net/eth0/mtu)" "$@"; fi
      tcp=
      dockerd -H "unix://$socket" --exec-root /run/docker --pidfile /run/docker.pid "$@" || true
      ;;
  esac
  sleep 0.2
done
