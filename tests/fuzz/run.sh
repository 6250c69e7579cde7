#!/bin/bash
# Run the fuzz targets that are in a build directory; see README.md.
#
#   run.sh BUILD [RUNS [TARGET…]]
#
# Without RUNS: the kept inputs and a few thousand new ones, the same each time. With RUNS: that many
# inputs for each target, and what they find out stays in BUILD/found for the next time.
# As many targets as there are processors run at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build="${1:?usage: run.sh BUILD [RUNS [TARGET…]]}"
runs="${2:-}"
shift $(($# < 2 ? $# : 2))

# The longest input worth trying, in bytes: longer ones are slower and reach no more.
declare -A longest=(
    [cache_entries]=2048 [conversation]=2048 [frames]=2048 [globs]=200 [layers]=400 [oci]=2048
    [ports]=800 [qmp]=2048 [requests]=2048 [snapshots]=800 [tars]=8192 [templates]=2048 [text]=256
)

# Return: libFuzzer's status. @1: the target
run_target() {
    local target="$1" found="$scratch/found/$1" dictionary="tests/fuzz/dictionaries/$1.dict"
    local log="$build/logs/$1" options=(-runs="${runs:-20000}" -max_len="${longest[$1]}")

    if [[ -n "$runs" ]]; then
        found="$build/found/$target"
    else
        options+=(-seed=1)
    fi
    if [[ -f "$dictionary" ]]; then
        options+=(-dict="$dictionary")
    fi
    mkdir -p "$found"
    # No input may take long or much memory, whatever it says. (libzstd takes up to 128 MiB.)
    options+=(-timeout=20 -rss_limit_mb=1024 -malloc_limit_mb=160 -reload=0 -print_final_stats=1)
    options+=(-artifact_prefix="$build/findings/$target-")
    if TMPDIR="$scratch" "$build/tests/fuzz/fuzz_$target" "${options[@]}" "$found" \
        "$build/inputs/$target" >"$log" 2>&1; then
        awk -v target="$target" '/number_of_executed_units/ { inputs = $2 }
            /average_exec_per_sec/ { rate = $2 } /cov:/ { reached = $4 }
            END { printf "%-14s %9d inputs, %6d a second, %4d edges\n", target, inputs, rate, reached }' \
            "$log"
    else
        echo "$target: a finding; the input is in $build/findings" >&2
        sed -n '/ERROR: \|runtime error: \|not so: /,$p' "$log" | head -n 60 >&2
        return 1
    fi
}

scratch="$(mktemp -d /dev/shm/flashvm-fuzz-XXXXXX)"
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$build/logs" "$build/findings"
rm -rf "$build/inputs"
tests/fuzz/seeds.py "$build/inputs"
tests/fuzz/corpus.py unpack "$build/inputs"

if (($# == 0)); then
    mapfile -t all < <(printf '%s\n' "${!longest[@]}" | sort)
    set -- "${all[@]}"
fi
status=0
for target in "$@"; do
    while (($(jobs -rp | wc -l) >= $(nproc))); do
        wait -n || status=1
    done
    run_target "$target" &
done
while (($(jobs -p | wc -l) > 0)); do
    wait -n || status=1
done
exit "$status"
