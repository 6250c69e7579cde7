#!/bin/bash
# Turn the unpacked Debian in ROOT into the lab's machine.
#
#   tests/lab/furnish.sh ROOT KRUNVM_PREFIX
set -euo pipefail
umask 022

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="${1:?usage: furnish.sh ROOT KRUNVM_PREFIX}"
krunvm="${2:?usage: furnish.sh ROOT KRUNVM_PREFIX}"

install -m 755 "$here/init.sh" "$root/sbin/lab-init"
cp -a "$krunvm/bin" "$krunvm/lib" "$root/usr/local/"
chroot "$root" ldconfig # for those who dlopen libkrun
mkdir -p "$root/test"

# What mmdebstrap took from the machine that builds: names, mirrors. This one has no network.
rm -f "$root/etc/apt/sources.list"
echo lab >"$root/etc/hostname"
echo '127.0.0.1 localhost lab' >"$root/etc/hosts"
echo '# no network here' >"$root/etc/resolv.conf"

# An ordinary user who may use KVM and has user IDs for rootless containers.
chroot "$root" useradd --uid 1000 --user-group --groups kvm --create-home --shell /bin/bash lab
echo 'lab:100000:65536' | tee "$root/etc/subuid" >"$root/etc/subgid"

# The package of flashVM comes with each test disk, for every user and every way to start Python.
echo /test/site >"$root/usr/lib/python3/dist-packages/flashvm-lab.pth"
ln -s /test/bin/flashvm "$root/usr/bin/flashvm"
