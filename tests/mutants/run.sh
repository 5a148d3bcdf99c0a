#!/bin/sh
# Tests the simulation: breaks one guard at a time, and expects the simulation to notice.
#
# Each *.patch beside this script is a mutant; its first line says what it breaks. `run.sh name ..`
# tries only those. SIM_SEEDS is how many seeds a mutant has to survive, to count as unnoticed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$root/target/mutants
seeds=${SIM_SEEDS:-2000}

# One folder of dependencies for all: they are compiled once.
export CARGO_TARGET_DIR="$scratch/target"
# The SDK makes most of the work: optimised it is several times as fast.
optimised='profile.dev.package."*".opt-level=2'
mkdir -p "$scratch"

copy() {
    rm -rf "$scratch/tree"
    mkdir -p "$scratch/tree/tests"
    cp "$root/Cargo.toml" "$root/Cargo.lock" "$root/build.rs" "$scratch/tree/"
    # A member of the workspace, so cargo wants it there.
    mkdir "$scratch/tree/benches"
    cp -R "$root/benches/core" "$scratch/tree/benches/"
    cp -R "$root/src" "$scratch/tree/"
    cp -R "$root/tests/simulation" "$root/tests/support" "$scratch/tree/tests/"
    for other in fuzz clippy.toml README.md without-unwinding.ld; do
        [ ! -e "$root/$other" ] || ln -s "$root/$other" "$scratch/tree/$other"
    done
}

# Compiles and runs the simulation on the copy; leaves its output in $scratch/log.
simulate() (
    cd "$scratch/tree"
    # Cargo goes by times, and a mutant is a copy: what was built of the one before is in the way.
    cargo clean --locked --quiet --package invalidator 2>/dev/null
    cargo test --config "$optimised" --locked --quiet --test simulation --no-run >"$scratch/log" 2>&1 || exit 2
    SIM_SEEDS=$seeds SIM_STOP=1 cargo test --config "$optimised" --locked --quiet --test simulation -- \
        --exact --nocapture nothing_is_lost_whatever_fails >"$scratch/log" 2>&1 || exit 1
)

if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # names have no spaces
    set -- $(cd "$here" && ls -- *.patch | sed 's/\.patch$//')
fi
printf '%-42s %s\n' mutant result
survived=0
for mutant in "$@"; do
    copy
    if ! patch --quiet --strip=1 --fuzz=3 --directory="$scratch/tree" <"$here/$mutant.patch" >"$scratch/log" 2>&1; then
        printf '%-42s %s\n' "$mutant" "DOES NOT APPLY: the code it breaks has changed, see $scratch/log"
        survived=1
        continue
    fi
    status=0
    simulate || status=$?
    case $status in
    0)
        printf '%-42s %s\n' "$mutant" "SURVIVED $seeds seeds"
        survived=1
        ;;
    1)
        printf '%-42s %s\n' "$mutant" "caught by seed $(sed -n 's/^SEED \([0-9]*\) FAILED$/\1/p' "$scratch/log" | head -n 1): $(grep -A 1 '^SEED ' "$scratch/log" | sed -n '2s/^ *//p')"
        ;;
    *)
        printf '%-42s %s\n' "$mutant" "DOES NOT COMPILE, see $scratch/log"
        survived=1
        ;;
    esac
done
exit $survived
