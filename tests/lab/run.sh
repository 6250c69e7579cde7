#!/bin/bash
# Boot the nested lab, run a command in it, show what it prints, exit as it did.
#
#   tests/lab/run.sh [--seconds N] [--add PATH:NAME]... [--results DIRECTORY] [--] COMMAND [ARGUMENT]...
#
# It is the checkout around the current directory that is tested: the package installed in its .venv
# is what the lab's Python imports, and a copy of its files is the command's working directory.
# PATH is copied to /test/NAME; what the command leaves in /test/results is copied to DIRECTORY.
# The machine is stopped after N seconds (600), with exit status 124.
set -euo pipefail
export LC_ALL=C

up_within=90 # seconds
memory_mb=4500
tries=4

work=
machine=

usage() {
    sed -n '4s/^# */usage: /p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

cleanup() {
    if [[ -n $machine ]]; then kill "$machine" 2>/dev/null || true; fi
    rm -rf -- "$work"
}

# The disk that the lab sees as /test, new for each try.
make_test_disk() {
    local disk="$work/disk" packages pair
    packages="$("$tree/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"
    mkdir -p "$disk"/{site,tree,bin,results}
    cp -r "$packages"/flashvm "$packages"/flashvm-*.dist-info "$disk/site/"
    sed '1s:.*:#!/usr/bin/python3:' "$tree/.venv/bin/flashvm" >"$disk/bin/flashvm"
    git -C "$tree" ls-files -z --cached --others --exclude-standard --deduplicate |
        tar -C "$tree" --null --files-from=- --ignore-failed-read -cf - 2>/dev/null |
        tar -C "$disk/tree" -xf -
    for pair in "${added[@]}"; do
        mkdir -p "$(dirname "$disk/${pair##*:}")"
        cp -r "${pair%:*}" "$disk/${pair##*:}"
    done
    printf '%q ' "${command[@]}" >"$disk/command"
    chmod 755 "$disk" "$disk/bin/flashvm"
    chmod 1777 "$disk/results"
    mke2fs -q -t ext4 -O ^has_journal -E root_owner=0:0,assume_storage_prezeroed=1 \
        -d "$disk" "$work/test.img" 4G >/dev/null
    rm -rf -- "$disk"
}

# Start the machine; its process is $machine, its console a file. An oops ends it at once.
#
# One CPU: with two, QEMU's threads race when the kernel patches its code (a jump label, which KVM has
# in its inner loop). One goes on executing the old bytes, and every few minutes an int3 kills the
# machine. Two are no faster for a guest of one CPU.
boot() {
    : >"$work/console"
    timeout -k 5 "$((deadline - SECONDS))" qemu-system-x86_64 -M q35 -cpu EPYC,+svm,+npt \
        -accel tcg -smp 1 -m "$memory_mb" \
        -nodefaults -no-user-config -nographic -serial stdio -no-reboot \
        -kernel "$lab/vmlinuz" -initrd "$lab/initrd.img" \
        -append "console=ttyS0 root=/dev/vda rw init=/sbin/lab-init oops=panic panic=-1 quiet" \
        -drive file="$lab/disk.img,if=virtio,format=raw,snapshot=on,cache=unsafe" \
        -drive file="$work/test.img,if=virtio,format=raw,cache=unsafe" \
        </dev/null >"$work/console" 2>"$work/warnings" &
    machine=$!
}

comes_up() {
    local waited
    for ((waited = 0; waited < up_within * 4; waited++)); do
        if grep -q '^LAB-UP' "$work/console"; then
            return 0
        fi
        kill -0 "$machine" 2>/dev/null || return 1
        sleep 0.25
    done
    return 1
}

# The console from LAB-UP on, while it grows; without the machine's last words.
show_console() {
    tail -f -s 0.2 --pid="$machine" -n +1 "$work/console" |
        sed -u -n '/^LAB-UP/,/^LAB-EXIT/{ /^LAB-EXIT/!p }'
}

fetch_results() {
    mkdir -p "$results"
    debugfs -R "rdump /results $work" "$work/test.img" >/dev/null 2>&1
    cp -r "$work/results/." "$results/"
}

parse() {
    seconds=600 results='' added=()
    while (($# > 0)); do
        case "$1" in
        --seconds) seconds="${2:?$1 needs a number}" && shift 2 ;;
        --add) added+=("${2:?$1 needs PATH:NAME}") && shift 2 ;;
        --results) results="${2:?$1 needs a directory}" && shift 2 ;;
        --) shift && break ;;
        -*) usage ;;
        *) break ;;
        esac
    done
    (($# > 0)) || usage
    command=("$@")
}

require_built() {
    local need
    for need in "$lab/disk.img=tests/lab/build.sh" "$tree/.venv/package=make hello"; do
        if [[ ! -e ${need%%=*} ]]; then
            echo "error: ${need%%=*} is missing; make it with: ${need#*=}" >&2
            return 1
        fi
    done
}

# One try. Return: whether the machine came to its end; then $status is the command's.
attempt() {
    local ended=0 console=
    make_test_disk
    boot
    if comes_up; then
        # In the background, because a shell that waits for a foreground process heeds no signal.
        show_console &
        console=$!
    else
        kill "$machine" 2>/dev/null || true
    fi
    wait "$machine" || ended=$?
    machine=
    if [[ -n $console ]]; then wait "$console"; fi
    status="$(sed -n 's/^LAB-EXIT \([0-9]*\).*/\1/p' "$work/console" | tail -1)"
    if [[ -n $status ]]; then
        return 0
    fi
    if ((ended != 124)); then
        echo "lab: the machine went down before its end (try $try of $tries)" >&2
        { grep -a -m 3 -E 'Oops|BUG|Kernel panic' "$work/console" || cat "$work/warnings"; } >&2
    fi
    return 1
}

main() {
    local try deadline status='' tree lab
    parse "$@"
    tree="$(git rev-parse --show-toplevel)"
    lab="${FLASHVM_LAB:-$tree/build/lab}"
    require_built
    work="$(mktemp -d)"
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    deadline=$((SECONDS + seconds))
    for ((try = 1; try <= tries && SECONDS < deadline; try++)); do
        if attempt; then break; fi
    done
    if [[ -n $results ]]; then fetch_results; fi
    if [[ -z $status ]] && ((SECONDS >= deadline)); then
        echo "lab: stopped after $seconds seconds" >&2
        return 124
    fi
    return "${status:-1}"
}

main "$@"
