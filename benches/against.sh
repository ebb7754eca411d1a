#!/usr/bin/env bash
# What a task costs now, beside another commit: both are built, and take turns. Prints the median of the rounds' ratios.
#   benches/against.sh <commit> [rounds, 30 when nothing is said]
set -euo pipefail
cd "$(dirname "$0")/.."
commit=$(git rev-parse --verify "${1:?which commit?}^{commit}")
rounds=${2:-30}
work=$(mktemp -d)
trap 'git worktree remove --force "$work/then" 2>/dev/null; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$work/then" "$commit"
# The same bench in either tree: the other commit may not have it.
cp -r benches/round.rs benches/common "$work/then/benches/"
grep -q '^name = "round"$' "$work/then/Cargo.toml" || printf '\n[[bench]]\nname = "round"\nharness = false\n' >>"$work/then/Cargo.toml"

# Builds the bench of the tree in $1 and prints the program's path.
build() {
    (cd "$1" && CARGO_TARGET_DIR="$work/build" cargo bench --locked --no-run --bench round --message-format json 2>"$work/log") |
        sed -n '/"name":"round"/s/.*"executable":"\([^"]*\)".*/\1/p' || { cat "$work/log" >&2; exit 1; }
}
cp "$(build .)" "$work/now.bin"
cp "$(build "$work/then")" "$work/then.bin"
for ((round = 1; round <= rounds; round++)); do
    # Who comes first has the other's caches: by turns.
    order="now then"
    ((round % 2)) || order="then now"
    for which in $order; do
        "$work/$which.bin" --bench | sed "s/^/$round $which /"
    done
done >"$work/figures"
python3 - "$work/figures" <<'PYTHON'
import statistics
import sys

figures = {}
for line in open(sys.argv[1]):
    number, which, name, ns = line.split()
    figures.setdefault(name, {}).setdefault(which, {})[number] = float(ns)
for name, of in figures.items():
    ratios = [ns / of["then"][number] for number, ns in of["now"].items()]
    now, then = (statistics.median(of[which].values()) for which in ("now", "then"))
    print(f"{name}: now {now:.0f} ns, then {then:.0f} ns, median ratio of {len(ratios)} rounds {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
PYTHON
