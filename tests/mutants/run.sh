#!/bin/sh
# Tests the simulation: breaks one guard at a time, and expects the simulation to notice.
#
# Each *.patch beside this script is a mutant; its first line says what it breaks. `run.sh name ..`
# tries only those. `run.sh --check` only tries whether every mutant still applies and compiles.
# SIM_SEEDS is how many seeds a mutant has to survive, to count as unnoticed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$root/target/mutants
seeds=${SIM_SEEDS:-2000}
check=
if [ "${1:-}" = --check ]; then
    check=1
    shift
fi

# Checking leaves nothing behind but metadata, so it may use what the tests have compiled. A mutant's
# binaries must not take the place of the real ones.
mkdir -p "$scratch"
if [ -n "$check" ]; then
    export CARGO_TARGET_DIR="$root/target"
else
    export CARGO_TARGET_DIR="$scratch/target"
    # What the mutants depend on is compiled once: by the tests, if they ran before.
    if [ ! -e "$scratch/target" ] && [ -e "$root/target/debug/deps" ]; then
        mkdir -p "$scratch/target/debug"
        for part in deps build .fingerprint; do
            cp -al "$root/target/debug/$part" "$scratch/target/debug/" 2>/dev/null || true
        done
    fi
fi

copy() {
    rm -rf "$scratch/tree"
    mkdir -p "$scratch/tree/tests"
    cp "$root/Cargo.toml" "$root/Cargo.lock" "$scratch/tree/"
    cp -R "$root/core" "$root/ctl" "$root/src" "$root/strict-cloudfront" "$scratch/tree/"
    # Named in Cargo.toml, so cargo wants them there.
    mkdir "$scratch/tree/benches"
    cp -R "$root/benches/core" "$root/benches/bench" "$scratch/tree/benches/"
    cp -R "$root/tests/simulation" "$root/tests/support" "$scratch/tree/tests/"
    for other in clippy.toml README.md; do
        [ ! -e "$root/$other" ] || ln -s "$root/$other" "$scratch/tree/$other"
    done
}

# Leaves its output in $scratch/log; 2 if the mutant does not compile, 1 if it is noticed.
try() (
    cd "$scratch/tree"
    # Cargo goes by times, and a mutant is a copy: what was built of the one before is in the way.
    touch core/src/lib.rs src/lib.rs
    if [ -n "$check" ]; then
        cargo check --locked --quiet --lib >"$scratch/log" 2>&1 || exit 2
        exit 0
    fi
    cargo test --locked --quiet --test simulation --no-run >"$scratch/log" 2>&1 || exit 2
    SIM_SEEDS=$seeds SIM_STOP=1 cargo test --locked --quiet --test simulation -- \
        --exact --nocapture nothing_is_lost_whatever_fails >"$scratch/log" 2>&1 || exit 1
)

if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # names have no spaces
    set -- $(cd "$here" && ls -- *.patch | sed 's/\.patch$//')
fi
printf '%-42s %s\n' mutant result
failed=0
for mutant in "$@"; do
    copy
    if ! patch --quiet --strip=1 --fuzz=3 --directory="$scratch/tree" <"$here/$mutant.patch" >"$scratch/log" 2>&1; then
        printf '%-42s %s\n' "$mutant" "DOES NOT APPLY: the code it breaks has changed, see $scratch/log"
        failed=1
        continue
    fi
    status=0
    try || status=$?
    case $status in
    0)
        if [ -n "$check" ]; then
            printf '%-42s %s\n' "$mutant" "applies and compiles"
            continue
        fi
        printf '%-42s %s\n' "$mutant" "SURVIVED $seeds seeds"
        failed=1
        ;;
    1)
        printf '%-42s %s\n' "$mutant" "caught by seed $(sed -n 's/^SEED \([0-9]*\) FAILED$/\1/p' "$scratch/log" | head -n 1): $(grep -A 1 '^SEED ' "$scratch/log" | sed -n '2s/^ *//p')"
        ;;
    *)
        printf '%-42s %s\n' "$mutant" "DOES NOT COMPILE, see $scratch/log"
        failed=1
        ;;
    esac
done
exit $failed
