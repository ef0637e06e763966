#!/usr/bin/env bash
# Installs the Debian packages that `pnpm test:lab` uses: a VM with a kernel to boot, and tools to look at packets and namespaces.
# Needs root. Does nothing, quickly, when all of them are there.
set -euo pipefail

packages=(
  qemu-system-x86 seabios      # the VM; v86's BIOS
  linux-image-cloud-amd64      # the guest's kernel; unpacked by QEMU guests, never booted here
  busybox-static bash python3  # the guest’s programs
  iproute2 util-linux mount    # ip, ss, nstat; unshare, nsenter
  iputils-ping                 # pings of the world, by the host for its guests
  isc-dhcp-client              # a DHCPv6 client
  tshark                       # an independent reader of captures
  xz-utils zstd                # compressed kernel modules of newer kernels
  bind9-dnsutils dnsmasq-base  # dig; the name server of a host
  gcc libc6-dev                # the helper for low ports, and a small server for the guest
  musl-tools hey               # the resolvers of another C library, and of Go
  dnsperf                      # load for the resolver's benchmark
  mmdebstrap curl e2fsprogs    # the Docker engine's tree and disk, made at their first use; asking whether it answers
  ca-certificates
  docker-registry iptables     # what an engine pulls from; a host that forwards nothing
  squid tinyproxy-bin          # upstream proxies
  git openssl                  # a client of proxies (npm is there, with the Node that started this); certificates for servers in the lab
  libglib2.0-bin gsettings-desktop-schemas # GNOME's settings, without GNOME
  passt slirp4netns iperf3 socat # other stacks, and loads, for the comparison
  chromium                     # the live page; the example with a guest in a page
  sudo systemd                 # ways to start the helper for low ports: sudo, systemd-socket-activate (no systemd runs)
)

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo 'The lab has all it needs.'
  exit 0
fi

if ((EUID != 0)); then
  echo "The lab needs these Debian packages: ${missing[*]}. Run this script as root, or install them." >&2
  exit 1
fi
command -v apt-get >/dev/null || {
  echo "The lab needs Debian packages (${missing[*]}), and this machine has no apt-get." >&2
  exit 1
}

export DEBIAN_FRONTEND=noninteractive
# tshark asks whether everybody may capture; the lab only reads files.
echo 'wireshark-common wireshark-common/install-setuid boolean false' | debconf-set-selections
# One broken source of several is no reason to stop: whether the packages can be had shows next.
apt-get update -qq || true
apt-get install -qq -y --no-install-recommends "${missing[@]}"
