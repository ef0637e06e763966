/** Bounds of the guests. All of them are generous: a busy machine doubles a boot, and an emulated one doubles it again. */

/** How long a guest may take from power-on to its ready line. A quiet machine needs 2 s with QEMU and 10 s with v86. */
export const BOOT_TIMEOUT_MS = 120_000

/** A KVM guest is ready in a second; after this it is taken for a broken /dev/kvm and started again without. */
export const KVM_BOOT_TIMEOUT_MS = 15_000

/** How long /dev/kvm may take to run the first instructions of a BIOS. On machines with a broken one it hangs for ever. */
export const KVM_PROBE_TIMEOUT_MS = 3_000

/** Default time for one command in a guest. */
export const EXEC_TIMEOUT_MS = 60_000

/** How long a guest may take to power off before it is killed. */
export const SHUTDOWN_TIMEOUT_MS = 3_000

/** How much of a guest's kernel log is kept for error messages, in bytes. */
export const CONSOLE_TAIL_BYTES = 16_384

/** Memory of a QEMU guest in MiB. The system itself needs 60; a test keeps a 64 MB download in a tmpfs. */
export const QEMU_MEMORY_MIB = 256

/** Memory of a v86 guest in MiB: enough for a 16 MB file in a tmpfs, and it is what the snapshot's size follows. */
export const V86_MEMORY_MIB = 96

/** Commands that run in one QEMU guest at the same time: one agent port each. */
export const QEMU_AGENTS = 4

/** How long `apt-get` and `dpkg-deb` may take together per step, in ms. The i386 kernel package is 50 MB. */
export const PACKAGE_TIMEOUT_MS = 180_000

/** How long a guest may take to move 64 MB and hash it. A busy machine emulates at a few MB/s. */
export const BULK_TIMEOUT_MS = 180_000

/** How long making a network namespace may take; it is a matter of milliseconds on a machine that is not stuck. */
export const NAMESPACE_TIMEOUT_MS = 10_000

/** Memory of a QEMU guest with a container engine, in MiB: dockerd and containerd take 250, the rest is for containers. */
export const ENGINE_MEMORY_MIB = 1024

/** CPUs of a QEMU guest with a container engine: dockerd starts containers on several threads. */
export const ENGINE_CPUS = 2
