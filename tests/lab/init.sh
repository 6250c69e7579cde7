#!/bin/bash
# PID 1 of the nested lab: make the machine ready, run the test on the second disk, power off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
ip link set lo up
dmesg -n 1
modprobe -q kvm-amd
mkdir -p /test
mount /dev/vdb /test
echo "LAB-UP $(uname -r) $(ls /dev/kvm)"
cd /test || exit
PYTHONPATH=/test/site python3 -u /test/test.py </dev/null 2>&1 | cat
echo "LAB-EXIT ${PIPESTATUS[0]}"
sync
echo o >/proc/sysrq-trigger
sleep 60
