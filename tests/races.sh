#!/usr/bin/env bash
# ThreadSanitizer over tests/races.rs, where all threads share one mapping: no report without the seeded race, one with it.
# It needs the nightly toolchain and `setarch`; about two minutes, most of it compiling.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(uname -m)-unknown-linux-gnu
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "not run, for there is no nightly toolchain: ThreadSanitizer"
    exit 0
fi
if ! setarch -R true 2>/dev/null; then
    echo "not run, for addresses cannot be left in their places here (setarch -R): ThreadSanitizer"
    exit 0
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/tsan
export RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg taskring_tsan"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo +nightly test --target "$target" --test races --no-run --message-format=json >"$log"
program=$(sed -n 's/.*"executable":"\([^"]*races[^"]*\)".*/\1/p' "$log")
export TSAN_OPTIONS="suppressions=$PWD/tests/races.supp exitcode=66 history_size=7"
reports() { grep -c '^WARNING: ThreadSanitizer' "$log" || true; }

if ! setarch -R "$program" >"$log" 2>&1; then
    cat "$log"
    echo "ThreadSanitizer: $(reports) reports, or a test failed"
    exit 1
fi
grep '^test ' "$log"
silent=$(reports)
TASKRING_SEEDED_RACE=1 setarch -R "$program" a_seeded_race >"$log" 2>&1 && status=0 || status=$?
# The task itself, where it writes.
seeded=$(grep -c "races::write_at_once::code::{closure#0} .*races.rs" "$log" || true)
echo "ThreadSanitizer: $silent reports; of the seeded race: $seeded (exit status $status)"
[ "$silent" = 0 ] && [ "$seeded" -ge 1 ] && [ "$status" = 66 ]
