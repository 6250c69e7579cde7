#!/bin/bash
# Make what others install: a source distribution, and of it a wheel that needs nothing but glibc,
# zlib and Python.
#
#   tools/build-wheel.sh DATA_DIR DIST_DIR
#
# Both hold the tree as git knows it: with uncommitted changes, without untracked files. The same
# tree and the same Debian packages give the same bytes. `python`, `meson` and the tools of
# requirements-wheel.txt must be on PATH.
set -euo pipefail
umask 022

if (($# != 2)); then
    echo "usage: $0 DATA_DIR DIST_DIR" >&2
    exit 2
fi
DATA="$1" DIST="$2"

# The extension uses nothing newer than the limited API of 3.8 (python/meson.build); meson-python tags
# a wheel with the Python that builds it.
PYTHON_TAG=cp38
# Whose code is in the wheel, linked into it or beside it, and where the texts of their licences are.
PACKAGES=(
    libarchive13 libjansson4 libnettle8 libsquashfs1 libzstd1 liblz4-1 liblzma5 libc6
)
LICENCES=(GPL-2 GPL-3 LGPL-2.1 LGPL-3)
# shellcheck disable=SC2016  # dpkg-query's placeholders
VERSIONS='${Package} ${Version} (source: ${source:Package} ${source:Version})\n'

AUTHOR=(-c user.name=flashvm -c user.email=flashvm)

SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
STAGE="$(mktemp -d)"
trap 'rm -rf -- "$STAGE"' EXIT

# run COMMAND...: its output is only of interest when it fails.
run() {
    "$@" >"$STAGE/log" 2>&1 || {
        cat "$STAGE/log" >&2
        return 1
    }
}

# A repository of its own, since meson packs what is committed.
copy_tree() {
    local tree changed
    tree=(git -C "$STAGE/source" "${AUTHOR[@]}")
    changed="$(git "${AUTHOR[@]}" stash create)"
    mkdir "$STAGE/source"
    git archive "${changed:-HEAD}" | tar -x -C "$STAGE/source"
    "${tree[@]}" init --quiet
    "${tree[@]}" add --all
    GIT_COMMITTER_DATE="@$SOURCE_DATE_EPOCH" "${tree[@]}" commit --quiet --message=sdist
    cp -R "$DATA" "$STAGE/source/python/flashvm/data"
    find "$STAGE/source/python/flashvm/data" -exec touch --date="@$SOURCE_DATE_EPOCH" {} +
}

build() {
    run python -m build --no-isolation --outdir "$STAGE/built" "$STAGE/source" \
        -Csetup-args=-Dstatic_libarchive=true -Csetup-args=-Dc_link_args=-s
    run auditwheel repair --zip-compression-level 1 --wheel-dir "$STAGE/repaired" "$STAGE"/built/*.whl
}

add_licences() {
    local package licence
    for package in "${PACKAGES[@]}"; do
        cp "/usr/share/doc/$package/copyright" "$1/$package"
    done
    for licence in "${LICENCES[@]}"; do
        cp "/usr/share/common-licenses/$licence" "$1/"
    done
    dpkg-query --show --showformat="$VERSIONS" "${PACKAGES[@]}" >"$1/debian-packages"
}

finish() {
    local info
    run wheel unpack --dest "$STAGE/unpacked" "$STAGE"/repaired/*.whl
    info="$(echo "$STAGE"/unpacked/*/*.dist-info)"
    sed -i "s/^Tag: cp[0-9]*-abi3-/Tag: $PYTHON_TAG-abi3-/" "$info/WHEEL"
    add_licences "$info/licenses"
    mkdir "$STAGE/dist"
    run wheel pack --dest-dir "$STAGE/dist" "$STAGE"/unpacked/*
    mv "$STAGE"/built/*.tar.gz "$STAGE/dist/"
}

copy_tree
build
finish
mkdir -p "$DIST"
rm -f -- "$DIST"/flashvm-*
mv "$STAGE"/dist/* "$DIST/"
