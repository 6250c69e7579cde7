#!/bin/bash
# PID 1 of the nested lab: make the machine ready, run the command on the second disk, power off.
#
# What tests/lab/run.sh reads on the console: LAB-UP when the machine is ready, LAB-EXIT and the
# command's exit status at its end. A machine that shows only the first went down in between.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 TERM=dumb USER=root LOGNAME=root XDG_RUNTIME_DIR=/run/user/0
dmesg -n 1
stty -onlcr

# mounted TYPE DIRECTORY [OPTIONS]: the initramfs has mounted some of these, with its own options.
mounted() {
    local options="${3:-defaults}"
    mkdir -p "$2"
    if mountpoint -q "$2"; then options="remount,$options"; fi
    mount -t "$1" -o "$options" "$1" "$2"
}
mounted proc /proc
mounted sysfs /sys
mounted devtmpfs /dev
mounted devpts /dev/pts gid=5,mode=620,ptmxmode=666
mounted tmpfs /dev/shm mode=1777
mounted tmpfs /run mode=755
mounted tmpfs /tmp mode=1777
mounted cgroup2 /sys/fs/cgroup
mount --make-rshared /
ln -sfn /proc/self/fd /dev/fd
ln -sfn fd/0 /dev/stdin
ln -sfn fd/1 /dev/stdout
ln -sfn fd/2 /dev/stderr
install -d -m 700 /run/user/0
install -d -m 700 -o lab -g lab /run/user/1000

modprobe -a kvm-amd overlay tun
chgrp kvm /dev/kvm
chmod 660 /dev/kvm
chmod 666 /dev/fuse /dev/net/tun
hostname lab
ip link set lo up

mount /dev/vdb /test
cd /test/tree || echo "the test disk has no tree"
# The firmware's last words end without a newline.
printf '\nLAB-UP %s %s\n' "$(cut -d' ' -f1 /proc/uptime)" "$(uname -r)"
# Not the console itself: with no terminal, programs print as they do into a file.
bash /test/command </dev/null 2>&1 | cat
status="${PIPESTATUS[0]}"
cd /
sync
umount /test
echo "LAB-EXIT $status"
mount -o remount,ro /
echo o >/proc/sysrq-trigger
sleep 60
