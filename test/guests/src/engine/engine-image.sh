#!/usr/bin/env bash
# Makes the disk of a VM with a container engine, once, and prints its path: an ext4 image of engine-tree.sh's tree, without what only
# clients and podman need, and with room for images and containers.
#
#   engine-image.sh CACHE
#
# No mount and no loop device: mke2fs fills it (Debian package e2fsprogs). Half a minute, 0.4 GB on disk.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
cache=$(realpath -m "$1")
tree=$(bash "$here/engine-tree.sh" "$cache")
image=$cache/engine.ext4
exec 9>"$cache/image.lock"
flock 9
if [[ ! -e $image ]]; then
  draft=$(mktemp -d "$cache/image.XXXXXX")
  trap 'rm -rf "$draft"' EXIT
  mkdir "$draft/tree"
  tar -C "$tree" --numeric-owner -c \
    --exclude=./var/cache --exclude=./var/lib/apt --exclude=./var/lib/dpkg --exclude=./boot --exclude=./usr/share/zoneinfo \
    --exclude=./usr/lib/x86_64-linux-gnu/gconv --exclude=./usr/libexec/docker/cli-plugins --exclude=./usr/bin/podman \
    --exclude=./usr/libexec/podman --exclude=./usr/lib/podman --exclude=./usr/bin/ctr --exclude=./usr/lib/cni . |
    tar -C "$draft/tree" --numeric-owner -x
  mkdir -p "$draft/tree/netkit"
  cp "$cache/busybox.tar" "$draft/tree/netkit/"
  : >"$draft/tree/etc/resolv.conf"
  size=$(($(du -sm "$draft/tree" | cut -f1) * 12 / 10 + 1536))
  truncate -s "${size}M" "$draft/image"
  mke2fs -q -t ext4 -O ^has_journal -d "$draft/tree" "$draft/image" >&2
  mv "$draft/image" "$image"
fi
echo "$image"
