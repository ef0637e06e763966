# To be sourced: what a small Linux VM is made of, or the end of the script where it cannot be had.
#
#   $kernel  a Debian kernel that can be read      $initramfs  a userland for it      $folder  a place for files; it goes with the script

missing() {
  echo "This example cannot run here: $1. On Debian: apt-get install $2"
  # Where this guest is required, not to run is to fail.
  case ,${REQUIRE_GUESTS-}, in *,qemu,*) exit 1 ;; *) exit 0 ;; esac
}
command -v qemu-system-x86_64 >/dev/null || missing 'there is no QEMU' qemu-system-x86
command -v busybox >/dev/null || missing 'there is no busybox' busybox-static
command -v curl >/dev/null || missing 'there is no curl' curl
kernel=$(find /boot -name 'vmlinuz-*-amd64' -readable 2>/dev/null | sort -V | tail -n 1)
[[ -n $kernel ]] || missing 'there is no kernel that can be read in /boot' linux-image-cloud-amd64

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
initramfs=$folder/initramfs.gz
"$(dirname "${BASH_SOURCE[0]}")/make-initramfs.sh" "${kernel#*/vmlinuz-}" "$initramfs"
