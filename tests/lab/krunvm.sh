#!/bin/bash
# Make krunvm, libkrun and libkrunfw, which neither Debian 12 nor 13 has.
#
#   tests/lab/krunvm.sh PREFIX
#   tests/lab/krunvm.sh --check     only say what is missing to do so, if anything
#
# Does nothing when PREFIX was made by this very recipe. The binaries find each other below any
# prefix, by their rpath, and run on Debian 12 and later.
set -euo pipefail
umask 022
export LC_ALL=C

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=guest/debian.sh
. "$HERE/../../guest/debian.sh"

KRUNVM=0.1.6
LIBKRUN=1.19.7
LIBKRUNFW_SUITE=forky

# Optimised code takes four times as long to compile, and the nested guest shows no difference.
export CARGO_PROFILE_RELEASE_OPT_LEVEL=0

require_cargo() {
    local version
    version="$(cargo --version 2>/dev/null | cut -d' ' -f2 || true)"
    if [[ "$(printf '%s\n' 1.85 "$version" | sort -V | head -1)" != 1.85 ]]; then
        echo "error: libkrun needs cargo 1.85 or newer, and this machine has ${version:-none};" \
            "install it with rustup, or use Debian 13's package \"cargo\"" >&2
        return 1
    fi
}

# The guest kernel inside a library. Debian has built it since forky.
install_libkrunfw() {
    # A mirror that is a snapshot of a past day stays usable: the signature is checked all the same.
    SUITE="$LIBKRUNFW_SUITE" debian_extract "$WORK/debian" --include=libkrunfw5 \
        --aptopt='Acquire::Check-Valid-Until "false"'
    cp -a "$WORK"/debian/usr/lib/x86_64-linux-gnu/libkrunfw.so.5* "$STAGE/lib/"
}

# cargo install takes no libraries. A package that depends on libkrun fetches its source and says
# where that is; there its own lock file decides the rest.
install_libkrun() {
    local source
    mkdir -p "$WORK/fetch/src"
    touch "$WORK/fetch/src/lib.rs"
    cat >"$WORK/fetch/Cargo.toml" <<TOML
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[dependencies]
libkrun = "=$LIBKRUN"
TOML
    cargo metadata --quiet --format-version 1 --manifest-path "$WORK/fetch/Cargo.toml" \
        >"$WORK/metadata.json"
    source="$(python3 - "$WORK/metadata.json" <<'PYTHON'
import json, os, sys
packages = json.load(open(sys.argv[1]))["packages"]
print(*(os.path.dirname(p["manifest_path"]) for p in packages if p["name"] == "libkrun"))
PYTHON
    )"
    cp -r "$source" "$WORK/libkrun"
    # shellcheck disable=SC2016  # $ORIGIN is the dynamic linker's
    RUSTFLAGS='-C link-arg=-Wl,-rpath,$ORIGIN' CARGO_TARGET_DIR="$WORK/target" \
        cargo build --quiet --release --locked --features blk,net \
        --manifest-path "$WORK/libkrun/Cargo.toml"
    install -s "$WORK/target/release/libkrun.so" "$STAGE/lib/libkrun.so.$LIBKRUN"
    ln -s "libkrun.so.$LIBKRUN" "$STAGE/lib/libkrun.so.1"
    ln -s libkrun.so.1 "$STAGE/lib/libkrun.so"
}

install_krunvm() {
    # Its build makes man pages, which cargo then throws away.
    mkdir "$WORK/bin"
    ln -s /bin/true "$WORK/bin/asciidoctor"
    PATH="$WORK/bin:$PATH" CARGO_TARGET_DIR="$WORK/target" \
        RUSTFLAGS="-L native=$STAGE/lib -C link-arg=-Wl,-rpath,\$ORIGIN/../lib" \
        cargo install --quiet --locked --no-track --version "$KRUNVM" --root "$STAGE" krunvm
}

# step WHAT FUNCTION: what the tools print is shown when they fail, without addresses of registries.
step() {
    echo "krunvm: $1"
    "$2" >"$WORK/log" 2>&1
}

cleanup() {
    local status=$?
    if ((status != 0)) && [[ -s $WORK/log ]]; then
        redact_addresses <"$WORK/log" | tail -30 >&2
        echo "error: krunvm could not be built (see above)" >&2
    fi
    rm -rf -- "$WORK"
}

check() {
    require_commands mmdebstrap=mmdebstrap gcc=gcc python3=python3
    require_cargo
}

main() {
    local prefix recipe
    if [[ ${1:-} == --check ]]; then
        check
        return
    fi
    prefix="$(realpath -m "${1:?usage: krunvm.sh PREFIX}")"
    recipe="$(cat "${BASH_SOURCE[0]}" "$HERE/../../guest/debian.sh" | sha256sum | cut -d' ' -f1)"
    if [[ "$(cat "$prefix/.recipe" 2>/dev/null)" == "$recipe" ]]; then
        echo "krunvm: up to date"
        return
    fi
    check

    mkdir -p "$(dirname "$prefix")"
    WORK="$(mktemp -d "$prefix.XXXXXX")"
    trap cleanup EXIT
    STAGE="$WORK/prefix"
    mkdir -p "$STAGE/lib"
    step "fetching libkrunfw" install_libkrunfw
    step "compiling libkrun $LIBKRUN" install_libkrun
    step "compiling krunvm $KRUNVM" install_krunvm
    echo "$recipe" >"$STAGE/.recipe"
    rm -rf -- "$prefix"
    mv "$STAGE" "$prefix"
}

main "$@"
