# shellcheck shell=bash
# How the recipe gets Debian packages: mmdebstrap, with the mirror of the machine it runs on.
# Sourced by image/build.sh and kernel/build.sh.

SUITE=trixie
ARCHITECTURE=amd64
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The URL that ends in $1 ("/debian", "/debian-security") among those apt is configured with;
# nothing when there is none.
configured_mirror() {
    # shellcheck disable=SC2016  # $(REPO_URI) is apt's placeholder, not a command
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
        sed 's:/*$::' | awk -v end="$1" 'substr($0, length($0) - length(end) + 1) == end' |
        sort -u | sed -n 1p
}

# The sources.list of the guest. The security suite lives on another host or path than the archive,
# so it is used when the machine's own configuration knows one. A machine that is not Debian names
# a mirror in FLASHVM_DEBIAN_MIRROR.
debian_sources() {
    local archive security
    archive="${FLASHVM_DEBIAN_MIRROR:-$(configured_mirror /debian)}"
    security="${FLASHVM_DEBIAN_SECURITY_MIRROR:-$(configured_mirror /debian-security)}"
    if [[ -z $archive ]]; then
        echo "error: apt on this machine knows no Debian archive (an address ending in /debian);" \
            "set FLASHVM_DEBIAN_MIRROR to one" >&2
        return 1
    fi
    printf 'deb %s %s main\n' "$archive" "$SUITE"
    if [[ -n $security ]]; then
        printf 'deb %s %s-security main\n' "$security" "$SUITE"
    fi
}

# Keep addresses (which may carry a password) out of the log.
redact_addresses() {
    sed -E 's#(https?|ftp|file)://[^ ]*#<mirror>#g'
}

# debian_extract ROOT [MMDEBSTRAP OPTION]...: unpack packages into ROOT. No maintainer script runs,
# so nothing of theirs can touch this machine, and root is not needed: chrootless mode extracts as
# any user (the layer's owners come from oci_layout.py, not from the file system).
debian_extract() {
    local root="$1" mode=chrootless sources
    shift
    if ((EUID == 0)); then
        mode=root
    fi
    sources="$(debian_sources)"
    if ! mmdebstrap --mode="$mode" --variant=extract --architectures="$ARCHITECTURE" \
        --keyring="$KEYRING" "$@" "$SUITE" "$root" - <<<"$sources" >"$root.log" 2>&1; then
        redact_addresses <"$root.log" >&2
        echo "error: mmdebstrap could not fetch or unpack the Debian packages (see above)" >&2
        return 1
    fi
}

# require_commands COMMAND=DEBIAN-PACKAGE...: fail with the packages to install.
require_commands() {
    local pair missing=()
    for pair in "$@"; do
        if ! command -v "${pair%%=*}" >/dev/null; then
            missing+=("${pair#*=}")
        fi
    done
    if [[ ! -e $KEYRING ]]; then
        missing+=(debian-archive-keyring)
    fi
    if ((${#missing[@]} > 0)); then
        echo "error: the guest recipe needs: apt-get install ${missing[*]}" >&2
        return 1
    fi
}

# recipe_digest DIRECTORY [PARAMETER]...: what the decision to skip a step compares. Any change in
# the files that make the step changes it.
recipe_digest() {
    local directory="$1" guest
    guest="$(dirname "$directory")"
    shift
    {
        find "$directory" "$guest/debian.sh" "$guest/manifest.py" \
            -name __pycache__ -prune -o -type f -print0 | sort -z | xargs -0 cat
        echo "$@"
    } | sha256sum | cut -d' ' -f1
}
