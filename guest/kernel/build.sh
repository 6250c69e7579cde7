#!/bin/bash
# Fetch the guest kernel: Debian's cloud kernel, and the modules the guest needs before it has a root.
#
#   guest/kernel/build.sh DATA_DIR MODULES_DIR [--force]
#
# writes DATA_DIR/vmlinux (the ELF inside Debian's bzImage: booted by PVH it saves an emulated guest the
# two seconds that unpacking takes), MODULES_DIR (for guest/initramfs/build.sh) and the "kernel" part of
# DATA_DIR/manifest.json. Does nothing when all exist and were made by this very recipe.
set -euo pipefail
umask 022
export LC_ALL=C

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
GUEST="$(dirname "$HERE")"
# shellcheck source=guest/debian.sh
. "$GUEST/debian.sh"

META_PACKAGE=linux-image-cloud-amd64

# What the agent loads, in this order, dependencies first: the disk, the file system on it, the
# writable layer above it, and where there is one the host's entropy. virtio's PCI transport and console
# are built in; the native engine's disk is a piece of memory.
VIRTIO_MODULES=(virtio_blk squashfs overlay virtio_rng)
NATIVE_MODULES=(nd_e820 nd_pmem squashfs overlay)

usage() {
    echo "usage: $0 DATA_DIR MODULES_DIR [--force]" >&2
    exit 2
}

# Download the kernel package the meta package stands for, without the initramfs tools it wants.
fetch_kernel() {
    mkdir "$DEBS"
    DEBS="$DEBS" META_PACKAGE="$META_PACKAGE" debian_extract "$WORK/apt" --include=base-files \
        --extract-hook="$HERE/download.sh"
    dpkg-deb -x "$DEBS"/linux-image-[0-9]*.deb "$ROOT"
}

install_modules() {
    local parent
    parent="$(dirname "$MODULES_DIR")"
    mkdir -p "$parent"
    MODULES_STAGE="$(mktemp -d "$parent/.modules.XXXXXX")"
    chmod 755 "$MODULES_STAGE"
    python3 "$HERE/collect_modules.py" "$ROOT/usr/lib/modules/$VERSION" "$MODULES_STAGE" \
        order.virtio "${VIRTIO_MODULES[@]}"
    python3 "$HERE/collect_modules.py" "$ROOT/usr/lib/modules/$VERSION" "$MODULES_STAGE" \
        order.native "${NATIVE_MODULES[@]}"
    echo "$1" >"$MODULES_STAGE/.recipe"
    rm -rf -- "$MODULES_DIR"
    mv "$MODULES_STAGE" "$MODULES_DIR"
}

cleanup() {
    rm -rf -- "$WORK" "$STAGE" ${MODULES_STAGE:+"$MODULES_STAGE"}
}

main() {
    local force=0 digest
    [[ $# -ge 2 && $1 != -* && $2 != -* ]] || usage
    if [[ ${3:-} == --force ]]; then force=1; elif (($# > 2)); then usage; fi
    mkdir -p "$1"
    DATA="$(cd "$1" && pwd)"
    MODULES_DIR="$(realpath -m "$2")"
    require_commands mmdebstrap=mmdebstrap python3=python3 dpkg-deb=dpkg zstd=zstd lz4=lz4

    digest="$(recipe_digest "$HERE")"
    if ((!force)) && [[ "$(cat "$MODULES_DIR/.recipe" 2>/dev/null)" == "$digest" ]] &&
        python3 "$GUEST/manifest.py" "$DATA" check kernel --recipe "$digest"; then
        echo "kernel: up to date"
        return
    fi

    WORK="$(mktemp -d)"
    STAGE="$(mktemp -d "$DATA/.kernel.XXXXXX")"
    trap cleanup EXIT
    DEBS="$WORK/debs" ROOT="$WORK/root"
    echo "kernel: fetching packages"
    fetch_kernel
    VERSION="$(basename "$ROOT"/usr/lib/modules/*)"
    python3 "$HERE/extract_vmlinux.py" "$ROOT/boot/vmlinuz-$VERSION" "$STAGE/vmlinux"
    install_modules "$digest"
    mv "$STAGE/vmlinux" "$DATA/"
    python3 "$GUEST/manifest.py" "$DATA" kernel --recipe "$digest" --version "$VERSION" \
        --packages "$DEBS"
}

main "$@"
