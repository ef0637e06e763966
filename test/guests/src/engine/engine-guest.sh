#!/usr/bin/env bash
# A real container engine in namespaces of its own (mount, net, pid, ipc, uts, cgroup); nothing of it outlives this script.
#
#   engine-guest.sh CACHE RUN KIND NETWORK [engine arguments…]
#
# KIND and NETWORK are engine-boot.sh's. With NETWORK=frames somebody must put an interface eth0 into the engine's namespace.
#
# Prints two JSON lines: {"pid"} as soon as the namespaces stand, {"socket", "client", "image"} when the engine answers. Ends when its
# standard input ends. RUN/docker.sock is the engine's API: a unix socket's path reaches across network namespaces. pid is the engine's
# init, for nsenter. RUN/log is what it printed. Images and containers live in a tmpfs.
set -euo pipefail
here=$(dirname "$(realpath "$0")")

# In the new namespaces, as their first process.
first_process() {
  local tree=$1 run=$2 base=$2/root
  shift 2
  # From now on the child of unshare is this process, and its namespaces are the engine's.
  : >"$run/standing"
  mount --make-rprivate /
  mkdir -p "$base"
  mount -t tmpfs -o mode=755 tmpfs "$base"
  mkdir "$base/upper" "$base/work" "$base/new"
  local new=$base/new
  mount -t overlay -o "lowerdir=$tree,upperdir=$base/upper,workdir=$base/work" overlay "$new"
  mount -t proc proc "$new/proc"
  mount -t sysfs sysfs "$new/sys"
  mount --rbind /dev "$new/dev"
  mkdir -p "$new/sys/fs/cgroup" "$new/netkit" "$new/var/lib/docker" "$new/var/lib/containers" "$new/old"
  mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
  local place
  for place in run tmp var/lib/docker var/lib/containers; do mount -t tmpfs -o mode=755 tmpfs "$new/$place"; done
  mount --bind "$run" "$new/netkit"
  : >"$new/etc/resolv.conf"
  hostname netkit-engine
  ip link set lo up
  # Not chroot: `docker exec` enters by setns(2), which lands in the namespace's root.
  cd "$new"
  pivot_root . old
  exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    NETKIT_GUEST_FOLDER=/run/netkit NETKIT_UDHCPC=/netkit/udhcpc.sh NETKIT_PORT_RANGE="${NETKIT_PORT_RANGE-}" \
    ${ROOTLESSKIT_STATE_DIR:+ROOTLESSKIT_STATE_DIR="$ROOTLESSKIT_STATE_DIR"} \
    /bin/sh -c 'umount -l /old && exec docker-init -- /bin/sh /netkit/engine-boot.sh "$@"' boot "$@" </dev/null
}

if [[ ${1-} == --first-process ]]; then
  shift
  first_process "$@"
fi

cache=$(realpath -m "$1") run=$(realpath -m "$2") kind=$3 network=$4
shift 4
tree=$(bash "$here/engine-tree.sh" "$cache")
mkdir -p "$run"
rm -f "$run"/{docker.sock,log,standing}
cp "$here/engine-boot.sh" "$run"
setpriv --pdeathsig KILL unshare --mount --net --pid --ipc --uts --cgroup --fork --kill-child=KILL \
  bash "$(realpath "$0")" --first-process "$tree" "$run" "$kind" /netkit/docker.sock "$network" "$@" >"$run/log" 2>&1 </dev/null &
outer=$!
finish() {
  trap - EXIT
  kill -KILL "$outer" 2>/dev/null || true
  wait "$outer" 2>/dev/null || true
  rm -f "$run/docker.sock"
}
trap finish EXIT
trap 'exit 143' TERM INT HUP
failed() {
  echo "$1" >&2
  tail -n 20 "$run/log" >&2
  exit 1
}

until [[ -e $run/standing ]]; do
  kill -0 "$outer" 2>/dev/null || failed 'The namespaces of the engine could not be made.'
  sleep 0.02
done
init=$(pgrep -P "$outer" | head -n 1) || failed 'The namespaces of the engine are gone.'
printf '{"pid":%s}\n' "$init"
# An engine that cannot start is started again and again: somebody has to say so.
deadline=$((SECONDS + 120))
until [[ -S $run/docker.sock ]] && curl -sf --unix-socket "$run/docker.sock" http://engine/_ping >/dev/null; do
  kill -0 "$outer" 2>/dev/null || failed 'The engine ended before it answered.'
  ((SECONDS < deadline)) || failed 'The engine did not answer within 120 s.'
  read -r -t 0.05 _ || (($? > 128)) || exit 0
done
printf '{"socket":"%s/docker.sock","client":"%s/docker-client","image":"%s/busybox.tar"}\n' "$run" "$cache" "$cache"
while kill -0 "$outer" 2>/dev/null; do
  read -r -t 1 _ || (($? > 128)) || break
done
