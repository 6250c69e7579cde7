#!/bin/bash
# Make the nested lab's disk: a Debian 12 with a kernel that has kvm-amd, QEMU, and what libflashvm needs.
#
#   tests/lab/build.sh [DIRECTORY]        (default: build/lab; needs root)
set -euo pipefail
export LC_ALL=C

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=guest/debian.sh
. "$here/../../guest/debian.sh"
export SUITE=bookworm
lab="$(realpath -m "${1:-build/lab}")"

packages=(
    linux-image-amd64 initramfs-tools kmod iproute2 udev bash coreutils
    qemu-system-x86 seabios python3 libarchive13 libjansson4 libnettle8 libsquashfs1
)

root=

cleanup() {
    if [[ -n $root ]]; then rm -rf -- "$root" "$root.log"; fi
}

main() {
    if ((EUID != 0)); then
        echo "error: the lab's disk is made by root" >&2
        exit 1
    fi
    require_commands mmdebstrap=mmdebstrap mke2fs=e2fsprogs
    mkdir -p "$lab"
    root="$(mktemp -d "$lab/.root.XXXXXX")"
    trap cleanup EXIT
    if ! debian_sources | mmdebstrap --variant=minbase --architectures="$ARCHITECTURE" \
        --keyring="$KEYRING" --include="$(IFS=,; echo "${packages[*]}")" \
        "$SUITE" "$root" - >"$root.log" 2>&1; then
        redact_addresses <"$root.log" | tail -20 >&2
        exit 1
    fi
    install -m 755 "$here/init.sh" "$root/root/init.sh"
    cp -L "$root/vmlinuz" "$lab/vmlinuz"
    cp -L "$root/initrd.img" "$lab/initrd.img"
    rm -f "$lab/disk.img"
    mke2fs -q -t ext4 -d "$root" "$lab/disk.img.new" 3G
    mv "$lab/disk.img.new" "$lab/disk.img"
    echo "lab: $lab"
}

main
