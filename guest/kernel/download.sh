#!/bin/sh
# mmdebstrap's hook: with the apt it has just set up, download the kernel package that
# $META_PACKAGE depends on into $DEBS. Nothing else is wanted of that package's dependencies.
set -eu
APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
export APT_CONFIG
package="$(apt-cache depends --no-recommends --no-suggests "$META_PACKAGE" |
    sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p')"
cd "$DEBS"
apt-get -o APT::Sandbox::User=root --quiet=2 download "$META_PACKAGE" "$package"
