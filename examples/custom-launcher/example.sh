#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"
source ../linux-vm/vm-parts.sh
node launcher.ts "$kernel" "$initramfs"
