#!/bin/bash
# mmdebstrap's extract hook for the lab's machine: its initramfs loads what finds the disk, no more.
#
# Debian's own takes an emulated machine longer than the rest of its boot: all modules to unpack, and
# udev, which looks at every device there is and loads what it may need.
set -euo pipefail

conf="$1/etc/initramfs-tools"
mkdir -p "$conf"/{conf.d,scripts/init-top,scripts/init-bottom}
echo MODULES=list >"$conf/conf.d/lab"
echo virtio_blk >"$conf/modules"

# These take the places of the scripts that start and stop udev. "prereqs" asks for names of others
# to run before.
cat >"$conf/scripts/init-top/udev" <<'SCRIPT'
#!/bin/sh
exit 0
SCRIPT
cat >"$conf/scripts/init-bottom/udev" <<'SCRIPT'
#!/bin/sh
if [ "$1" = prereqs ]; then exit 0; fi
mount -n -o move /dev "$rootmnt/dev"
SCRIPT
chmod 755 "$conf"/scripts/init-*/udev
