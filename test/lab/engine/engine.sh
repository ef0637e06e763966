#!/usr/bin/env bash
# A real container engine in namespaces of its own (mount, net, pid, ipc, uts, cgroup); nothing of it outlives this script.
#
#   engine.sh CACHE RUN [docker|podman] [engine arguments…]
#
# Prints one JSON line when the engine answers, and ends when its standard input ends. RUN/docker.sock is the engine's API: a unix
# socket's path reaches across network namespaces. RUN/pid is the engine's init, for nsenter. RUN/log is what it printed. Images and
# containers live in a tmpfs. The engine is started again when it ends, as a service manager does.
set -euo pipefail
here=$(dirname "$(realpath "$0")")

# In the new namespaces, as their first process.
first_process() {
  local tree=$1 run=$2 kind=$3 base=$2/root
  shift 3
  mount --make-rprivate /
  mkdir -p "$base"
  mount -t tmpfs -o mode=755 tmpfs "$base"
  mkdir "$base/upper" "$base/work" "$base/new"
  local new=$base/new
  mount -t overlay -o "lowerdir=$tree,upperdir=$base/upper,workdir=$base/work" overlay "$new"
  mount -t proc proc "$new/proc"
  mount -t sysfs sysfs "$new/sys"
  mount --rbind /dev "$new/dev"
  mkdir -p "$new/sys/fs/cgroup" "$new/lab" "$new/var/lib/docker" "$new/var/lib/containers" "$new/old"
  mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
  local place
  for place in run tmp var/lib/docker var/lib/containers; do mount -t tmpfs -o mode=755 tmpfs "$new/$place"; done
  mount --bind "$run" "$new/lab"
  : >"$new/etc/resolv.conf"
  hostname lab-engine
  ip link set lo up
  cat >"$new/run/serve" <<'SERVE'
#!/bin/sh
kind=$1
shift
while :; do
  rm -f /run/docker.pid
  if [ "$kind" = podman ]; then podman system service --time=0 unix:///lab/docker.sock "$@"
  else dockerd -H unix:///lab/docker.sock --exec-root /run/docker --pidfile /run/docker.pid "$@"; fi
  sleep 0.2
done
SERVE
  chmod +x "$new/run/serve"
  # Not chroot: `docker exec` enters by setns(2), which lands in the namespace's root.
  cd "$new"
  pivot_root . old
  exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root /bin/sh -c \
    'umount -l /old && exec docker-init -- /run/serve "$@"' serve "$kind" "$@" </dev/null
}

if [[ ${1-} == --first-process ]]; then
  shift
  first_process "$@"
fi

cache=$(realpath -m "$1") run=$(realpath -m "$2") kind=${3:-docker}
shift $(($# < 3 ? $# : 3))
tree=$("$here/make-tree.sh" "$cache")
mkdir -p "$run"
rm -f "$run"/{docker.sock,pid,log}
setpriv --pdeathsig KILL unshare --mount --net --pid --ipc --uts --cgroup --fork --kill-child=KILL \
  "$(realpath "$0")" --first-process "$tree" "$run" "$kind" "$@" >"$run/log" 2>&1 </dev/null &
outer=$!
finish() {
  trap - EXIT
  kill -KILL "$outer" 2>/dev/null || true
  wait "$outer" 2>/dev/null || true
  rm -f "$run"/{docker.sock,pid}
}
trap finish EXIT
trap 'exit 143' TERM INT HUP

for ((attempt = 0; attempt < 600; attempt++)); do
  kill -0 "$outer" 2>/dev/null || { cat "$run/log" >&2; exit 1; }
  if [[ -S $run/docker.sock ]] && curl -sf --unix-socket "$run/docker.sock" http://lab/_ping >/dev/null; then break; fi
  sleep 0.05
done
pgrep -P "$outer" | head -n 1 >"$run/pid"
printf '{"socket":"%s/docker.sock","pid":%s,"client":"%s/docker-client","image":"%s/busybox.tar"}\n' \
  "$run" "$(<"$run/pid")" "$cache" "$cache"
while kill -0 "$outer" 2>/dev/null; do
  read -r -t 1 _ || (($? > 128)) || break
done
