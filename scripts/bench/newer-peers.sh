#!/usr/bin/env bash
# Fetches the newest passt and gvproxy of Debian with that suite's own C library into a folder; nothing is installed.
#
#   newer-peers.sh FOLDER        then: NEWER_PEERS=FOLDER node scripts/bench/main.ts
#
# Debian, apt; about 30 MB. A second call does nothing.
set -euo pipefail
folder=$(realpath -m "$1")
suite=forky
[[ -e $folder/ready ]] && exit 0
mkdir -p "$folder"/{apt/lists/partial,apt/archives/partial,packages,root}

# The mirror that this machine's apt uses, and its opinion on dated copies of the archive.
mirror=$(sed -n 's/^URIs:[[:space:]]*//p' /etc/apt/sources.list.d/debian.sources | head -n 1)
dated=$(apt-config dump --format '%v%n' Acquire::Check-Valid-Until | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$folder/apt/sources.list"
apt() {
  apt-get -qq -o Dir::Etc::SourceList="$folder/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$folder/apt/lists" -o Dir::Cache::Archives="$folder/apt/archives" \
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root \
    -o Acquire::Check-Valid-Until="${dated:-true}" "$@"
}
apt update
(cd "$folder/packages" && apt download passt gvproxy libc6)
for package in "$folder"/packages/*.deb; do dpkg-deb --extract "$package" "$folder/root"; done
touch "$folder/ready"
