#!/bin/bash
# Install what is missing of tools/debian-packages, and say what that is.
#
#   tools/install-packages.sh build|test
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
wanted="${1:?usage: install-packages.sh build|test}"

# The list's packages for this purpose; "test" includes "build".
listed() {
    sed 's/#.*//' "$here/debian-packages" | awk -v wanted="$wanted" \
        'NF == 2 && ($2 == "build" || $2 == wanted) { print $1 }'
}

is_installed() {
    [[ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]
}

missing=()
while IFS= read -r package; do
    is_installed "$package" || missing+=("$package")
done < <(listed)
if ((${#missing[@]} == 0)); then
    exit 0
fi

as_root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "error: these Debian packages are missing, and there is no sudo to install them:" >&2
        echo "  apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "Installing from Debian: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
