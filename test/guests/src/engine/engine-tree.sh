#!/usr/bin/env bash
# Makes a Debian tree that holds a current Docker engine, once, and prints its path.
#
#   engine-tree.sh CACHE
#
# CACHE/engine-tree     the tree; the engine runs inside it (its runc wants a newer libc than Debian 12 has)
# CACHE/docker-client   docker, buildx and compose, copied out: these run on Debian 12 as they are
# CACHE/busybox.tar     a root file system of busybox alone, for `docker import`
#
# Root; the Debian package mmdebstrap; about a minute and 0.7 GB.
set -euo pipefail
cache=$(realpath -m "$1")
tree=$cache/engine-tree
suite=forky
packages=(
  ca-certificates iproute2 iptables nftables procps kmod socat busybox-static
  docker.io docker-cli docker-buildx docker-compose containerd runc
  podman crun conmon netavark aardvark-dns golang-github-containers-common
)
mkdir -p "$cache"
exec 9>"$cache/engine.lock"
flock 9

if [[ ! -e $cache/engine-tree.ready ]]; then
  rm -rf "$tree"
  # The mirror that this machine's apt uses, and its opinion on dated copies of the archive.
  mirror=$(sed -n 's/^URIs:[[:space:]]*//p' /etc/apt/sources.list.d/debian.sources | head -n 1)
  dated=$(apt-config dump --format '%v%n' Acquire::Check-Valid-Until | head -n 1)
  include=$(IFS=,; echo "${packages[*]}")
  mmdebstrap --quiet --variant=minbase --include="$include" \
    --aptopt="Acquire::Check-Valid-Until \"${dated:-true}\"" \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$tree" \
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >&2
  touch "$cache/engine-tree.ready"
fi

client=$cache/docker-client
if [[ ! -x $client/docker ]]; then
  mkdir -p "$client/config/cli-plugins"
  cp "$tree"/usr/libexec/docker/cli-plugins/* "$client/config/cli-plugins/"
  cp "$tree/usr/bin/docker" "$client/docker"
fi

if [[ ! -e $cache/busybox.tar ]]; then
  root=$(mktemp -d)
  mkdir "$root"/{bin,etc,tmp,root,www}
  cp "$tree/usr/bin/busybox" "$root/bin/"
  while read -r applet; do
    [[ $applet = busybox ]] || ln -s busybox "$root/bin/$applet"
  done < <("$root/bin/busybox" --list)
  echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
  echo published >"$root/www/index.html"
  tar -C "$root" --numeric-owner --sort=name --mtime=@0 -cf "$cache/busybox.tar.part" .
  mv "$cache/busybox.tar.part" "$cache/busybox.tar"
  rm -rf "$root"
fi
echo "$tree"
