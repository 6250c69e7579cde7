#!/bin/bash
# Build the embedded image, localhost/flashvm:python-basic, as an OCI layout.
#
#   guest/image/build.sh DATA_DIR [--force]
#
# writes DATA_DIR/oci and the "image" part of DATA_DIR/manifest.json. Does nothing when both exist
# and were made by this very recipe. Works as root and as an ordinary user.
#
# The digest depends on nothing but the package versions and this recipe: whatever could differ
# from host to host (Python's bytecode, the tar writer, the zstd compressor) is done by the guest's
# own binaries, run through the guest's own dynamic loader.
set -euo pipefail
umask 022
export LC_ALL=C

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
GUEST="$(dirname "$HERE")"
# shellcheck source=guest/debian.sh
. "$GUEST/debian.sh"

IMAGE_TAG=python-basic
IMAGE_REFERENCE="localhost/flashvm:$IMAGE_TAG"
# Every time stamp in the image: 2025-08-09, the day of trixie's release.
EPOCH="${SOURCE_DATE_EPOCH:-1754697600}"

# The snippet's Python, what the standard library needs to be whole, and the libraries that PyPI's
# manylinux wheels expect of every system.
PYTHON_PACKAGES=(
    python3 libpython3-stdlib python3-gdbm
    ca-certificates media-types ncurses-base netbase tzdata
    libgcc-s1 libstdc++6 zlib1g
)
# What snippets call through subprocess; libc-bin has ldconfig, getent and the locale C.UTF-8.
SYSTEM_PACKAGES=(
    base-files bash coreutils dash debianutils diffutils findutils grep gzip hostname libc-bin
    mawk sed tar
)
# Pulled in by the packages above (or, zstd, by this recipe) and useless in the guest.
DROPPED_PACKAGES=(debconf dpkg liblz4-1 libmd0 zstd)

usage() {
    echo "usage: $0 DATA_DIR [--force]" >&2
    exit 2
}

# Unpack the packages into $ROOT; keep the archives in $DEBS for the questions asked later.
fetch_packages() {
    local include
    include="$(IFS=,; echo "${PYTHON_PACKAGES[*]},${SYSTEM_PACKAGES[*]},zstd")"
    mkdir "$DEBS"
    # shellcheck disable=SC2016  # $1 is expanded by mmdebstrap's shell
    DEBS="$DEBS" debian_extract "$ROOT" --include="$include" \
        --extract-hook='cp "$1"/var/cache/apt/archives/*.deb "$DEBS"'
}

# Move the packages that the image does not need from $ROOT to $TOOLS and from $DEBS to $DROPPED.
drop_packages() {
    local package deb path
    mkdir "$TOOLS" "$DROPPED"
    for package in "${DROPPED_PACKAGES[@]}"; do
        for deb in "$DEBS/${package}"_*.deb; do
            [[ -e $deb ]] || continue
            dpkg-deb -x "$deb" "$TOOLS"
            while IFS= read -r path; do
                if [[ -L $ROOT/$path || -f $ROOT/$path ]]; then
                    rm -f -- "${ROOT:?}/$path"
                fi
            done < <(dpkg-deb --fsys-tarfile "$deb" | tar -t)
            mv "$deb" "$DROPPED"
        done
    done
}

# A program of the guest, run on this machine with the guest's loader and libraries and nothing of
# this machine's environment. No chroot: that would need root.
run_guest_program() {
    local program="$1" libraries=usr/lib/x86_64-linux-gnu
    shift
    env -i PATH=/usr/bin:/bin LANG=C.UTF-8 PYTHONHASHSEED=0 PYTHONHOME="$ROOT/usr" \
        "$ROOT/usr/lib64/ld-linux-x86-64.so.2" \
        --library-path "$ROOT/$libraries:$TOOLS/$libraries" "$program" "$@"
}

guest_python() {
    run_guest_program "$ROOT/usr/bin/python3" -sSB "$@"
}

keep_only() {
    local directory="$1"
    shift
    local -A wanted=()
    local name path
    for name in "$@"; do
        wanted[$name]=1
    done
    for path in "$ROOT/$directory"/* "$ROOT/$directory"/.[!.]*; do
        if [[ -e $path || -L $path ]] && [[ -z ${wanted[${path##*/}]:-} ]]; then
            rm -rf -- "$path"
        fi
    done
}

# Of the documentation the copyright files stay, whole, for the licences' sake.
prune() {
    keep_only . bin sbin lib lib64 etc usr var root tmp
    keep_only var lib log cache tmp
    keep_only var/lib
    keep_only var/log
    keep_only var/cache
    keep_only var/tmp
    keep_only tmp
    keep_only root
    keep_only etc bash.bashrc debian_version ethertypes host.conf inputrc ld.so.conf ld.so.conf.d \
        mime.types os-release profile protocols rpc services ssl
    keep_only etc/ssl certs openssl.cnf
    keep_only usr/lib locale os-release python3 python3.13 ssl x86_64-linux-gnu
    keep_only usr/lib/ssl cert.pem certs openssl.cnf
    keep_only usr/sbin chroot ldconfig
    keep_only usr/share ca-certificates common-licenses doc terminfo zoneinfo
    find "$ROOT/usr/share/doc" ! -type d ! -name copyright ! \( -type l -xtype d \) -delete
    find "$ROOT/usr/share/doc" -type d -empty -delete
    # Debian's sitecustomize looks for a crash reporter that is not here, in every interpreter.
    find "$ROOT/usr/lib/python3.13" -name sitecustomize.py -delete
    # iconv's tables: 8 MB that Python, which has its own codecs, never opens.
    rm -rf "$ROOT/usr/lib/x86_64-linux-gnu/gconv"
    rm -f "$ROOT"/usr/bin/{c_rehash,openssl,py3clean,py3compile,py3versions}
    find "$ROOT" -name __pycache__ -type d -prune -exec rm -rf {} +
}

# What the packages' maintainer scripts, which never run here, would have written.
configure() {
    cp -r "$HERE/rootfs/." "$ROOT/"
    mkdir -p "$ROOT"/{dev,proc,run,sys,var/tmp,tmp,root,home/user,work/out}
    : >"$ROOT/etc/resolv.conf"
    ln -sf /usr/share/zoneinfo/Etc/UTC "$ROOT/etc/localtime"
    ln -sfn /run "$ROOT/var/run"
    ln -sfn /run/lock "$ROOT/var/lock"
    ln -sf mawk "$ROOT/usr/bin/awk"
    ln -sf which.debianutils "$ROOT/usr/bin/which"
    ln -sf python3 "$ROOT/usr/bin/python"
    trust_certificates
    "$ROOT/usr/sbin/ldconfig" -r "$ROOT"
    rm -rf "$ROOT/var/cache/ldconfig"
}

# What update-ca-certificates does: all of Mozilla's authorities, in one file.
trust_certificates() {
    # awk, unlike cat, ends the last line of a file that does not.
    find "$ROOT/usr/share/ca-certificates" -name '*.crt' -print0 | sort -z |
        xargs -0 awk 1 >"$ROOT/etc/ssl/certs/ca-certificates.crt"
    rm -rf "$ROOT/usr/share/ca-certificates"
}

# Bytecode that is never checked against its source (the image is read-only): importing saves a
# stat per module. One process, sorted order, a fixed hash seed: the same bytes every time.
compile_python() {
    guest_python -m compileall -q -f -s "$ROOT" -p / --invalidation-mode unchecked-hash \
        "$ROOT/usr/lib/python3.13" "$ROOT/usr/lib/python3"
}

write_layout() {
    local zstd
    zstd="$WORK/zstd"
    # oci_layout.py starts the compressor by name, so it gets a name that does the loader's work.
    {
        echo '#!/bin/bash'
        declare -p ROOT TOOLS
        declare -f run_guest_program
        # shellcheck disable=SC2016
        echo 'run_guest_program "$TOOLS/usr/bin/zstd" "$@"'
    } >"$zstd"
    chmod +x "$zstd"
    guest_python "$HERE/oci_layout.py" "$ROOT" "$STAGE/oci" \
        --tag "$IMAGE_TAG" --epoch "$EPOCH" --zstd "$zstd"
}

# Put the new layout in the place of the old one.
install_layout() {
    if [[ -e $DATA/oci ]]; then
        mv "$DATA/oci" "$STAGE/old"
    fi
    mv "$STAGE/oci" "$DATA/oci"
}

main() {
    local force=0 digest
    [[ $# -ge 1 && $1 != -* ]] || usage
    if [[ ${2:-} == --force ]]; then force=1; elif (($# > 1)); then usage; fi
    mkdir -p "$1"
    DATA="$(cd "$1" && pwd)"
    require_commands mmdebstrap=mmdebstrap python3=python3 dpkg-deb=dpkg

    digest="$(recipe_digest "$HERE" "$EPOCH")"
    if ((!force)) && python3 "$GUEST/manifest.py" "$DATA" check image --recipe "$digest"; then
        echo "image: up to date"
        return
    fi

    WORK="$(mktemp -d)"
    STAGE="$(mktemp -d "$DATA/.image.XXXXXX")"
    trap 'rm -rf -- "$WORK" "$STAGE"' EXIT
    ROOT="$WORK/root" DEBS="$WORK/debs" TOOLS="$WORK/tools" DROPPED="$WORK/dropped"
    echo "image: fetching packages"
    fetch_packages
    drop_packages
    prune
    configure
    echo "image: compiling the standard library"
    compile_python
    echo "image: writing the layer"
    write_layout
    install_layout
    python3 "$GUEST/manifest.py" "$DATA" image --recipe "$digest" \
        --reference "$IMAGE_REFERENCE" --packages "$DEBS" --build-packages "$DROPPED"
}

main "$@"
