#!/bin/sh
# Runs every fuzz target for so many seconds, FUZZ_JOBS at once (as many as processors), and prints the
# inputs each of them executed, the total last. Needs a nightly toolchain and cargo-fuzz.
set -eu
cd "$(dirname "$0")/.."
export FUZZ_SECONDS="${1:-60}"
targets="event tags pattern path message error_file state"
export LOGS=fuzz/target/logs
mkdir -p "$LOGS"

# Nothing here is unsafe, so a sanitizer would find nothing and halve the inputs.
cargo +nightly fuzz build --sanitizer none

one='
    target=$1
    mkdir -p "fuzz/corpus/$target"
    seeds=
    length=160
    if [ "$target" = event ]; then
        seeds=events
        length=800
    fi
    if [ "$target" = state ]; then
        length=800
    fi
    dictionary=
    if [ -f "fuzz/dictionaries/$target.dict" ]; then
        dictionary="-dict=fuzz/dictionaries/$target.dict"
    fi
    cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" $seeds -- \
        -max_total_time="$FUZZ_SECONDS" -max_len=$length -reload=0 -print_final_stats=1 $dictionary \
        >"$LOGS/$target.log" 2>&1 ||
        echo "$target FAILED, its input is in fuzz/artifacts/$target: see $LOGS/$target.log"
'
failures=$(printf '%s\n' $targets | xargs -n 1 -P "${FUZZ_JOBS:-$(getconf _NPROCESSORS_ONLN)}" sh -c "$one" --)

total=0
for target in $targets; do
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$LOGS/$target.log")
    echo "fuzz: $target ${inputs:-0} inputs"
    total=$((total + ${inputs:-0}))
done
if [ -n "$failures" ]; then
    echo "$failures"
    exit 1
fi
echo "fuzz: $total inputs in all, no failure"
