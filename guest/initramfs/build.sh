#!/bin/bash
# Pack the initramfs: the agent as /init, the kernel modules and the zygote.
#
#   guest/initramfs/build.sh DATA_DIR MODULES_DIR AGENT ZYGOTE_DIR
#
# writes DATA_DIR/initramfs.cpio and the "initramfs" part of DATA_DIR/manifest.json. Takes a
# fraction of a second, so it simply runs; when nothing changed, the file is left alone.
set -euo pipefail
umask 022

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

if (($# != 4)); then
    echo "usage: $0 DATA_DIR MODULES_DIR AGENT ZYGOTE_DIR" >&2
    exit 2
fi
DATA="$1" MODULES_DIR="$2" AGENT="$3" ZYGOTE_DIR="$4"

mkdir -p "$DATA"
STAGE="$(mktemp -d "$DATA/.initramfs.XXXXXX")"
trap 'rm -rf -- "$STAGE"' EXIT
strip -o "$STAGE/agent" "$AGENT" # what is left does not know where it was compiled
python3 "$HERE/pack_initramfs.py" --agent "$STAGE/agent" --zygote "$ZYGOTE_DIR" \
    --modules "$MODULES_DIR" --output "$STAGE/initramfs.cpio"
chmod 644 "$STAGE/initramfs.cpio"
if cmp --silent "$STAGE/initramfs.cpio" "$DATA/initramfs.cpio"; then
    echo "initramfs: up to date"
else
    mv "$STAGE/initramfs.cpio" "$DATA/initramfs.cpio"
fi
python3 "$HERE/../manifest.py" "$DATA" initramfs
