#!/bin/bash
# Make the nested lab's machine: disk.img, vmlinuz and initrd.img of a Debian 13 that has KVM, krunvm,
# buildah, skopeo and QEMU. Needs root.
#
#   tests/lab/build.sh [DIRECTORY]        (default: $FLASHVM_LAB, or build/lab)
#
# Does nothing when DIRECTORY's were made by this very recipe.
set -euo pipefail
umask 022
export LC_ALL=C

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
DEBIAN="$HERE/../../guest/debian.sh"
# shellcheck source=guest/debian.sh
. "$DEBIAN"

make_root() {
    local packages sources
    packages="$(sed 's/ *#.*//; /^$/d' "$HERE/packages" | paste -sd,)"
    sources="$(debian_sources)"
    if ! mmdebstrap --mode=root --variant=minbase --architectures="$ARCHITECTURE" \
        --keyring="$KEYRING" --include="$packages" --extract-hook="$HERE/initramfs.sh" \
        --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$SUITE" "$ROOT" - <<<"$sources" >"$WORK/log" 2>&1; then
        redact_addresses <"$WORK/log" | tail -20 >&2
        echo "error: mmdebstrap could not make the lab's machine (see above)" >&2
        return 1
    fi
}

# The file is sparse, so its tables are zero already. Nothing written to it lasts: no journal.
make_disk() {
    mke2fs -q -t ext4 -O ^has_journal -E assume_storage_prezeroed=1 -d "$ROOT" "$WORK/disk.img" 6G >/dev/null
    cp -L "$ROOT/vmlinuz" "$ROOT/initrd.img" "$WORK/"
    mv "$WORK/disk.img" "$WORK/vmlinuz" "$WORK/initrd.img" "$LAB/"
}

cleanup() {
    rm -rf -- "$WORK"
}

main() {
    local recipe
    LAB="$(realpath -m "${1:-${FLASHVM_LAB:-build/lab}}")"
    require_commands mmdebstrap=mmdebstrap mke2fs=e2fsprogs
    mkdir -p "$LAB"
    exec {lock}>"$LAB/.lock"
    flock "$lock"
    "$HERE/krunvm.sh" "$LAB/krunvm"
    recipe="$({
        cat "$HERE"/{build,furnish,init,initramfs}.sh "$HERE/packages" "$DEBIAN" "$LAB/krunvm/.recipe"
    } | sha256sum | cut -d' ' -f1)"
    if [[ "$(cat "$LAB/.recipe" 2>/dev/null)" == "$recipe" ]]; then
        echo "lab: up to date"
        return
    fi
    if ((EUID != 0)); then
        echo "error: the lab's disk is made by root: sudo $0 $LAB" >&2
        return 1
    fi
    WORK="$(mktemp -d "$LAB/.work.XXXXXX")"
    trap cleanup EXIT
    ROOT="$WORK/root"
    rm -f "$LAB/.recipe"
    echo "lab: unpacking Debian"
    make_root
    "$HERE/furnish.sh" "$ROOT" "$LAB/krunvm"
    echo "lab: making the disk"
    make_disk
    echo "$recipe" >"$LAB/.recipe"
}

main "$@"
