#!/bin/bash
# Boot the nested lab, run a Python test in it with the package of .venv, and exit as the test did.
#
#   tests/lab/run.sh TEST.py [SECONDS]     (default: 600)
set -euo pipefail

test="${1:?usage: run.sh TEST.py [SECONDS]}"
seconds="${2:-600}"
lab="${FLASHVM_LAB:-build/lab}"
tries=4

work="$(mktemp -d)"
trap 'rm -rf -- "$work"' EXIT
package="$(.venv/bin/python -c 'import flashvm, os; print(os.path.dirname(flashvm.__file__))')"
mkdir -p "$work/disk/site"
cp -r "$package" "$work/disk/site/"
cp "$test" "$work/disk/test.py"
mke2fs -q -t ext4 -d "$work/disk" "$work/test.img" 600M >/dev/null

# Start the machine; its process is $machine, its console a file that is shown as it grows.
boot() {
    : >"$work/console"
    timeout -k 5 "$seconds" qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu EPYC,+svm,+npt \
        -smp 2 -m 4000 -nodefaults -no-user-config -nographic -serial stdio -no-reboot -snapshot \
        -kernel "$lab/vmlinuz" -initrd "$lab/initrd.img" \
        -append "console=ttyS0 root=/dev/vda rw init=/root/init.sh panic=-1 quiet" \
        -drive file="$lab/disk.img,if=virtio,format=raw" \
        -drive file="$work/test.img,if=virtio,format=raw" \
        </dev/null >"$work/console" 2>"$work/warnings" &
    machine=$!
}

# Is the machine's init running within a minute? Some boots hang before that.
comes_up() {
    local waited
    for ((waited = 0; waited < 60; waited++)); do
        if grep -q '^LAB-UP' "$work/console"; then
            return 0
        fi
        kill -0 "$machine" 2>/dev/null || return 1
        sleep 1
    done
    return 1
}

for ((try = 1; try <= tries; try++)); do
    boot
    if comes_up; then
        tail -f --pid="$machine" -n +1 "$work/console" | sed -n '/^LAB-UP/,$p'
    else
        kill "$machine" 2>/dev/null || true
    fi
    wait "$machine" || true
    status="$(sed -n 's/^LAB-EXIT \([0-9]*\).*/\1/p' "$work/console" | tail -1)"
    if [[ -n $status ]]; then
        exit "$status"
    fi
    echo "lab: the machine did not come to its end (try $try of $tries)" >&2
done
exit 1
